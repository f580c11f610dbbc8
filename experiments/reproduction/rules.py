"""How the report decides. These rules and the table of comparisons in claims.py stood before the results were
collected, and no layout, seed or rule is changed after one has been seen."""

LEVEL = 0.95            # of intervals, two-sided
SIGNIFICANCE = 0.05     # of tests, two-sided, after Holm's correction
CLOSE = 0.02            # as published: training loss and accuracy are to be so close to the paper's
SIMILAR = {"validation_accuracy": 0.005, "validation_loss": 0.02}  # "leads to similar final results"

RULES = [
    ("Seeds", "A cell is one row in one reading with one seed: 1, 2, 3 and so on. Every seed that has come to its end "
     "counts, and none is left out. Values are those after the last epoch, not the best ones on the way; training loss "
     "and accuracy are running means over the last epoch, with dropout and augmentation on."),
    ("Agrees", "A paper's number is one draw. It agrees where it lies inside the two-sided 95 % prediction interval of "
     "the seeds, mean ± t(0.975, n - 1) s √(1 + 1/n), widened by half of the paper's last digit. A row agrees where all "
     "of its numbers do; one number in twenty lies outside by chance. With one seed there is no interval and no verdict. "
     "The difference is also given in standard errors of that prediction, s √(1 + 1/n)."),
    ("Reading that fits better", "The one with the smaller mean absolute difference between the paper's numbers of a row "
     "and the means over the seeds; both distances are given."),
    ("Claims", "Each is a comparison of the means of two rows, as the paper makes it. The effect has the sign of the "
     "claim: above 0 it is as claimed. Its 95 % interval and its p-value are Welch's, two-sided. The p-values of all "
     "comparisons of one report in one reading are corrected by Holm's method together; one that cannot be made yet "
     "counts as p = 1. A comparison is supported where the corrected p is below 0.05 and the effect is above 0, "
     "contradicted where it is below 0.05 and the effect below 0; otherwise it cannot be told. A claim is contradicted "
     "where one of the paper's comparisons is, supported where all of them are, and otherwise cannot be told. "
     "Comparisons marked ours change one thing at a time where the paper's change two; they carry a verdict of their "
     "own and do not decide the claim's."),
    ("Similar", "Two rows end alike where the 95 % interval of their difference lies within ± 0.005 of validation "
     "accuracy, and within ± 0.02 of validation loss; contradicted where it lies outside altogether; otherwise it cannot "
     "be told. No p-value belongs to it."),
    ("Why not", "Where a row as published does not agree, experiments change one thing at a time, and the report says "
     "which change brings the paper's number into the interval; or it says: not explained."),
]
