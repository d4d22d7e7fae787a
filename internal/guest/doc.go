// Package guest runs commands in a virtual machine with Debian's own kernel, for what
// this machine's kernel lacks: WireGuard, the datapath of Open vSwitch, IPVS.
//
// The guest sees this machine's files (9p, read-only under an overlay in its memory), so
// that a test binary built here runs there with every program that it calls. It has a
// second share, which it can write, for results. Its output comes as it is written, over
// a virtio port. It has no network and no disk, and nothing of it is left when it ends.
//
// The kernel is the package on which linux-image-amd64 depends at the moment, fetched
// by apt-get and kept in the user's cache. KVM is used where a trial shows that it
// boots; elsewhere QEMU emulates. The guest's clock then counts instructions, 10^9 a
// second, so that waiting times mean the same however busy this machine is: by its own
// clock the guest is a slow machine that has all its time to itself. Figures taken in it
// can be compared with each other only.
//
// It knows nothing of tests: package kernelsuite does.
package guest
