# Completes the command lines of k8s-cli in fish.
complete -c k8s-cli -f -a '(k8s-cli completion words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
complete -c k8s-cli -F -n '__fish_seen_subcommand_from submit validate'
