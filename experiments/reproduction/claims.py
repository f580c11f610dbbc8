"""The claims of both reports as comparisons (rules.py says how they are judged). A comparison is of a measure between two
rows: the effect is that of `high` minus `low`, so that above 0 is what the paper claims."""

from collections import namedtuple

# kind: "order", "similar" or "above" (high is a row, low a number). ours: not the paper's comparison.
Comparison = namedtuple("Comparison", "text measure high low kind ours", defaults=("order", False))
Claim = namedtuple("Claim", "number title comparisons note", defaults=("",))

REPORT1 = [
    Claim(1, "A wider hidden layer lowers training loss", [
        Comparison("600 units instead of 100, one layer: training loss", "train_loss", "table1/row1", "table1/row2"),
        Comparison("600 units instead of 100, two layers: training loss", "train_loss", "table1/row3", "table1/row4"),
    ]),
    Claim(2, "A second hidden layer lowers training loss and raises validation loss", [
        Comparison("second layer behind 100 units: training loss", "train_loss", "table1/row1", "table1/row3"),
        Comparison("second layer behind 600 units: training loss", "train_loss", "table1/row2", "table1/row4"),
        Comparison("second layer behind 100 units: validation loss", "validation_loss", "table1/row3", "table1/row1"),
        Comparison("second layer behind 600 units: validation loss", "validation_loss", "table1/row4", "table1/row2"),
    ], "As published, the nets of one hidden layer have dropout 0.5 and those of two have none, so that these comparisons "
       "change two things there."),
    Claim(3, "Dropout raises training loss and lowers validation loss; 0.3 is better than 0.5", [
        Comparison("dropout 0.3: training loss", "train_loss", "table1/row5", "table1/row4"),
        Comparison("dropout 0.5: training loss", "train_loss", "table1/row7", "table1/row4"),
        Comparison("dropout 0.3: validation loss", "validation_loss", "table1/row4", "table1/row5"),
        Comparison("dropout 0.5: validation loss", "validation_loss", "table1/row4", "table1/row7"),
        Comparison("0.3 instead of 0.5: validation loss", "validation_loss", "table1/row7", "table1/row5"),
        Comparison("0.3 instead of 0.5: validation accuracy", "validation_accuracy", "table1/row5", "table1/row7"),
    ]),
    Claim(4, "Learning rate 0.01 is best, then 0.1, and 0.05 is worst", [
        Comparison("0.01 (row 9) before 0.1 (row 8): validation accuracy", "validation_accuracy", "table1/row9",
                   "table1/row8"),
        Comparison("0.1 (row 8) before 0.05 (row 7): validation accuracy", "validation_accuracy", "table1/row8",
                   "table1/row7"),
        Comparison("0.1 (row 8) before 0.05 with the same dropout (row 5): validation accuracy", "validation_accuracy",
                   "table1/row8", "table1/row5", "order", True),
        Comparison("0.01 (row 9) before 0.05 with the same dropout (row 5): validation accuracy", "validation_accuracy",
                   "table1/row9", "table1/row5", "order", True),
    ], "The paper compares rows 7, 8 and 9; row 7 has dropout 0.5, the others 0.3. Row 5 is 0.05 with 0.3."),
    Claim(5, "SGD ends like Adam and starts slower", [
        Comparison("rows 7 and 10: validation accuracy", "validation_accuracy", "table1/row7", "table1/row10", "similar"),
        Comparison("rows 7 and 10: validation loss", "validation_loss", "table1/row7", "table1/row10", "similar"),
        Comparison("SGD instead of Adam: training loss of the first epoch", "first_train_loss", "table1/row10",
                   "table1/row7"),
    ]),
    Claim(6, "Augmentation raises training loss and lowers validation loss", [
        Comparison("augmentation at 0.5: training loss", "train_loss", "table2/row2", "table2/row1"),
        Comparison("augmentation at 0.5: validation loss", "validation_loss", "table2/row1", "table2/row2"),
        Comparison("augmentation at 0.5: validation accuracy", "validation_accuracy", "table2/row2", "table2/row1"),
    ], "As published, row 1 is run with augmentation too (its configuration says why), so that both rows are the same "
       "there, and only the stated reading compares."),
    Claim(7, "MultiStepLR converges better", [
        Comparison("with the schedule: training loss", "train_loss", "table2/row2", "table2/row3"),
        Comparison("with the schedule: validation loss", "validation_loss", "table2/row2", "table2/row3"),
        Comparison("with the schedule: validation accuracy", "validation_accuracy", "table2/row3", "table2/row2"),
    ]),
    Claim(8, "L2 of 0.5 strongly mitigates overfitting", [
        Comparison("row 6 instead of row 4: validation loss", "validation_loss", "table1/row4", "table1/row6"),
        Comparison("L2 alone (row 6 instead of row 5): validation loss", "validation_loss", "table1/row5", "table1/row6",
                   "order", True),
        Comparison("L2 alone (row 6 instead of row 5): validation accuracy", "validation_accuracy", "table1/row6",
                   "table1/row5", "order", True),
    ], "The paper compares rows 6 and 4; row 6 has dropout 0.3 too, row 4 none. Row 5 is row 6 without L2."),
]

REPORT2 = [
    Claim(1, "Deeper networks recognise more", [
        Comparison("network 2 before network 1: test accuracy", "test_accuracy", "cnn/network2", "cnn/network1"),
        Comparison("network 3 before network 2: test accuracy", "test_accuracy", "cnn/network3", "cnn/network2"),
    ]),
    Claim(2, "The best accuracy surpasses 97 %", [
        Comparison("network 3 above 0.97: test accuracy", "test_accuracy", "cnn/network3", 0.97, "above"),
    ]),
]
