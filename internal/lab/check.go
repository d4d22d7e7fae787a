package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// packages are the programs of the host that a lab runs, by the Debian package that
// has them. Package tools says what the build of the lab's own programs needs.
var packages = map[string][]string{
	"nftables":           {"nft"},
	"iproute2":           {"ip"},
	"util-linux":         {"nsenter"},
	"openvswitch-switch": {"ovs-vswitchd", "ovs-vsctl", "ovsdb-server", "ovsdb-tool", "ovs-ofctl", "ovs-appctl"},
	"openssh-server":     {"sshd"},
	"busybox-static":     {"busybox"},
	"libc-bin":           {"ldd"},
}

// check says what this machine lacks for a lab, all of it at once.
func check() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root: it makes network namespaces, mounts and control groups")
	}
	return lacking(exec.LookPath)
}

// lacking names the programs that look does not find, and the packages to install.
func lacking(look func(string) (string, error)) error {
	var programs, install []string
	for name, has := range packages {
		absent := slices.DeleteFunc(slices.Clone(has), func(p string) bool { _, err := look(p); return err == nil })
		if len(absent) > 0 {
			programs, install = append(programs, absent...), append(install, name)
		}
	}
	if len(programs) == 0 {
		return nil
	}
	slices.Sort(programs)
	slices.Sort(install)
	return fmt.Errorf("the lab needs %s, not found in PATH: on Debian, apt install %s", strings.Join(programs, ", "), strings.Join(install, " "))
}
