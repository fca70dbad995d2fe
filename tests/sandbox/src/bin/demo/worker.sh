# The demo's background worker, run as `sh worker.sh KIND` in its site's directory. It works until it is stopped, or
# until KIND.bug contains its last words.
trap 'exit 143' TERM # an error to systemd, though it was stopped: as npm does it
case $1 in
queue) echo 'INFO  Processing jobs from the [default] queue.' ;;
reverb) echo 'INFO  Starting server on 0.0.0.0:8080 (localhost).' ;;
scheduler) echo 'INFO  Running scheduled tasks.' ;;
vite) echo 'VITE v7.1.3  ready in 214 ms' ;;
esac
while sleep 0.1 & wait $!; do
    if read -r words <"$1.bug"; then
        printf '%s\n' "$words" >&2
        sleep 0.1
        exit 1
    fi
done
