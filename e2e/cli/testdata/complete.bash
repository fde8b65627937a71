# Prints what bash offers behind a line, as pressing tab would.
source /usr/share/bash-completion/bash_completion
source <(drover completion bash)
line=$1
read -ra COMP_WORDS <<< "$line"
[[ $line == *" " ]] && COMP_WORDS+=("")
COMP_LINE=$line COMP_POINT=${#line} COMP_CWORD=$((${#COMP_WORDS[@]} - 1)) COMP_TYPE=9
compopt() { :; }
__start_drover
printf '%s\n' "${COMPREPLY[@]}"
