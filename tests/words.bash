# For scripts that change settings which others have set before them: the program takes each key once.
# shellcheck shell=bash

# Sets WORDS to these, but of several KEY=VALUE with one key to the last alone.
latest_words() { # WORDS..
  local word key at
  local -A place=()
  WORDS=()
  for word; do
    key=${word%%=*}
    if [[ $word != [a-z]*=* ]]; then
      WORDS+=("$word")
    elif [[ -n ${place[$key]:-} ]]; then
      at=${place[$key]}
      WORDS[at]=$word
    else
      place[$key]=${#WORDS[@]}
      WORDS+=("$word")
    fi
  done
}
