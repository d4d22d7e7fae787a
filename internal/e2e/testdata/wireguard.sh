# Runs the WireGuard plays on a tree that is this machine's own under an overlay; each
# step leaves Ansible's output and what changed in the tree.
cd {{.Dir}}
mkdir scratch tree
mount -t tmpfs scratch scratch
mkdir scratch/upper scratch/work
mount -t overlay overlay -o lowerdir=/,upperdir=$PWD/scratch/upper,workdir=$PWD/scratch/work tree
mount --rbind /proc tree/proc
mount --rbind /dev tree/dev
mount -t tmpfs run tree/run
mount -t tmpfs tmp tree/tmp
rm -rf tree/etc/apt/sources.list tree/etc/apt/sources.list.d tree/lib/modules
mkdir -p tree/etc/apt/sources.list.d tree/srv tree/run/lock
cp -r module tools tree/srv/
# repository NAME makes it the only one; nothing of it is installed.
repository() {
  chroot tree dpkg --purge --force-depends wireguard 2>/dev/null
  rm -rf tree/lib/modules tree/var/lib/apt/lists
  mkdir -p tree/var/lib/apt/lists/partial
  echo "deb [trusted=yes] file:/srv/$1 ./" >tree/etc/apt/sources.list.d/test.list
  chroot tree apt-get -qq update
}

state() { (cd tree && find etc -xdev \( -path etc/ld.so.cache -o -path etc/mtab \) -prune -o -type f -printf '/%p %T@\n' | sort); }
# step NAME PLAYBOOK ARGUMENT…
step() {
  local name=$1 playbook=$2
  shift 2
  state >before
  ansible-playbook -i hosts.yml "$playbook" "$@" >"$name.out" 2>&1 || true
  state >after
  diff before after | sed -n 's/^< \([^ ]*\) .*/-\1/p; s/^> \([^ ]*\) .*/+\1/p' >"$name.diff" || true
}
install={{.Root}}/playbooks/wireguard.yml
remove={{.Root}}/playbooks/wireguard_remove.yml
repository module
step check "$install" -e wireguard_install=true --check
step first "$install" -e wireguard_install=true
step second "$install" -e wireguard_install=true
step teardown-check "$remove" -e wireguard_install=true --check
step teardown "$remove" -e wireguard_install=true
step teardown-again "$remove" -e wireguard_install=true
echo '# of somebody else' >tree/etc/modules-load.d/sdn-tunnel.conf
step foreign "$remove" -e wireguard_install=true
rm tree/etc/modules-load.d/sdn-tunnel.conf
repository tools
step never "$install" -e wireguard_userspace=never
step allowed "$install" -e wireguard_install=true
