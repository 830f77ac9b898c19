# Completes the command lines of k8s-cli in bash: source <(k8s-cli completion bash)
_k8s_cli() {
    # One candidate a line; what follows a tab describes it.
    mapfile -t COMPREPLY < <(k8s-cli completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null | cut -f 1)
}
# Without a candidate, bash offers files.
complete -o default -F _k8s_cli k8s-cli
