# Runs in the guest: on each disk that is logged, popward with spool and state directories on it, and its sessions.
# shellcheck shell=bash
mkdir -p /usr/libexec/popward
cp "$VM_PAYLOAD"/popward* /usr/libexec/popward/
chown -R 0:0 /usr/libexec/popward
chmod 711 /usr/libexec/popward/*
for f in /usr/libexec/popward/*; do
  # A static one is "not a dynamic executable".
  if ldd "$f" 2>&1 | grep 'not found'; then echo "the guest has not what $f needs: build on the guest's Debian"; exit 3; fi
done
port=11110 jobs=()
for name in ${VM_DISKS//,/ }; do
  for d in /sys/block/vd*; do [ "$(cat "$d/serial")" = "$name" ] && dev=/dev/${d##*/}; done
  type=ext4 options=noatime plan=sessions
  case $name in
    xfs) type=xfs ;;
    unflushed) options=noatime,barrier=0 plan=few-sessions ;;
  esac
  mkdir -p "/srv/$name"
  mount -t "$type" -o "$options" "$dev" "/srv/$name" || exit 125
  port=$((port + 1))
  python3 -S "$VM_PAYLOAD/sessions.py" "$name" "127.0.0.1:$port" "$VM_PAYLOAD/$plan" & jobs+=($!)
done
status=0
for job in "${jobs[@]}"; do wait "$job" || status=1; done
exit "$status"
