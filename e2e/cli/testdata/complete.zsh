# Types a line and tab into an interactive zsh, and prints the line that zsh makes of it.
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1='ready> '; unsetopt beep; autoload -U compinit; compinit -D -u; source <(drover completion zsh); echo begin"
zpty -r -m shell seen '*begin*begin*ready> *' || exit 1
zpty -w -n shell "$1"$'\t'
zpty -w -n shell $' # end\n'
zpty -r -m shell seen "*# end*" || exit 1
print -r -- "${${seen##*ready> }%% \# end*}" | tr -d '\r\a' | sed 's/\x1b\[[0-9;?]*[A-Za-z]\?//g; s/.\x08//g; s/ *$//' | tail -1
