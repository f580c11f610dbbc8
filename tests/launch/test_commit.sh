#!/usr/bin/env bash
# Whose commit a build takes for its own: only that of a repository whose top is the source folder.
# test_commit.sh SOURCES WORK_FOLDER
set -euo pipefail
command -v git >/dev/null || { echo "skipped: no git" && exit 77; }
SCRIPT=$1/cmake/version.cmake
rm -rf "$2"
mkdir -p "$2/outer/inner" "$2/alone"
cd "$2"

commit_of() { # SOURCE [VARIABLE=VALUE..]
  local source=$1
  shift
  rm -f version.h
  env "$@" cmake -D "SOURCE=$source" -D VERSION=1 -D HEADER=version.h -P "$SCRIPT"
  sed -n 's/.*LOCKSTEP_GIT *"\(.*\)"/\1/p' version.h
}

expect() { # FOUND EXPECTED WHAT
  [[ $1 == "$2" ]] || { echo "$3: found '$1', expected '$2'" && exit 1; }
}

quiet_git() { # FOLDER ARGUMENTS..
  git -C "$1" -c user.name=a -c user.email=a@b -c commit.gpgsign=false "${@:2}" >/dev/null
}

quiet_git outer init
echo 1 >outer/inner/file
quiet_git outer add .
quiet_git outer commit -m first
head=$(git -C outer rev-parse --short=10 HEAD)

expect "$(commit_of "$PWD/outer")" "$head" "the top of a repository"
expect "$(commit_of "$PWD/outer/inner")" unknown "a folder inside a repository"
expect "$(commit_of "$PWD/outer/inner" "GIT_DIR=$PWD/outer/.git")" unknown "a folder inside, in a hook of the repository"
expect "$(GIT_CEILING_DIRECTORIES=$PWD commit_of "$PWD/alone")" unknown "a folder without a repository"
ln -s outer link
expect "$(commit_of "$PWD/link")" "$head" "the top by a symbolic link"
echo 2 >outer/inner/file
expect "$(commit_of "$PWD/outer")" "$head-dirty" "a tree that was changed"
echo "commits of builds: passed"
