#compdef k8s-cli
# Completes the command lines of k8s-cli in zsh.
_k8s_cli() {
    local -a found
    found=("${(@f)$(k8s-cli completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -z ${found[1]} ]]; then
        _files
        return
    fi
    # A tab precedes the description; for zsh it is a colon.
    found=("${(@)found//$'\t'/:}")
    _describe k8s-cli found
}
compdef _k8s_cli k8s-cli
