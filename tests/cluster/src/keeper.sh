# Keeps one server: PROGRAMS FOLDER. One word a line on standard input, "done" after each.
set -u
programs=$1
folder=$2
data=$folder/data
log=$folder/log

control() {
    "$programs/pg_ctl" -D "$data" -s -w -t 60 -l "$log" "$@" >>"$folder/control" 2>&1
}

obey() {
    case $1 in
    make)
        "$programs/initdb" -D "$data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
            >>"$folder/control" 2>&1
        ;;
    # After a kill, what it shared is in the way until its last process has noticed.
    start) control start || { sleep 1 && control start; } || { sleep 3 && control start; } ;;
    # A copy of the server whose socket is in SOCKET, which it follows until it is promoted.
    follow\ *)
        # shellcheck disable=SC2086 # two words: where its socket is, and its port
        set -- $1
        "$programs/pg_basebackup" -D "$data" -h "$2" -p "$3" -U postgres -R -X stream -c fast \
            >>"$folder/control" 2>&1
        ;;
    promote) control promote ;;
    kill) kill -9 "$(head -n 1 "$data/postmaster.pid")" ;;
    esac
}

while read -r word; do
    if obey "$word"; then
        echo "done"
    else
        cat "$folder/control" "$log" >&2
        echo failed
    fi
done

control -m immediate stop
rm -rf "$folder"
