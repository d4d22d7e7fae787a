package guest

import (
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
)

// Accelerator is how QEMU runs the guest's processor.
type Accelerator string

// Accelerators.
const (
	KVM       Accelerator = "kvm"
	Emulation Accelerator = "tcg"
)

const program = "qemu-system-x86_64"

// machine is one guest as QEMU is told of it.
type machine struct {
	accelerator     Accelerator
	processors, mib int
	kernel, initrd  string
	console         string // file
	share           string // folder
}

// kernelArguments suit a guest that lives for minutes: no mitigations, no self-tests of
// the crypto code, RCU quick, power off on panic.
var kernelArguments = []string{
	"console=ttyS0", "quiet", "loglevel=4", "panic=-1", "oops=panic", "reboot=t", "mitigations=off", "nokaslr",
	"no_timer_check", "tsc=reliable", "cryptomgr.notests", "rcupdate.rcu_expedited=1",
	"audit=0", "selinux=0", "apparmor=0", "sysrq_always_enabled",
}

// counted has the guest's clock count instructions: 10^9 of them are a second, and idle
// time passes as it does here. However busy this machine is, the guest then has time for
// what it has to do before a timer of its own runs out; with this machine's clock its
// kernel could spend all its time on ticks. It takes a single thread, so a single processor.
var counted = []string{"-accel", "tcg,thread=single", "-icount", "shift=0,sleep=on", "-cpu", "max,la57=off", "-smp", "1"}

// arguments are QEMU's; its standard output is what the guest writes to the port.
func (m machine) arguments() []string {
	processor := counted
	if m.accelerator == KVM {
		processor = []string{"-accel", "kvm", "-cpu", "host", "-smp", strconv.Itoa(m.processors)}
	}
	return slices.Concat(processor, []string{
		"-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "pc", "-m", strconv.Itoa(m.mib),
		"-kernel", m.kernel, "-initrd", m.initrd, "-append", strings.Join(kernelArguments, " "),
		"-chardev", "file,id=console,path=" + m.console, "-serial", "chardev:console",
		"-device", "virtio-serial-pci",
		"-chardev", "file,id=out,path=/dev/stdout", "-device", "virtserialport,chardev=out,name=" + job.Port,
		"-fsdev", "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=host,mount_tag=" + job.HostTag,
		"-fsdev", "local,id=share,path=" + m.share + ",security_model=none,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=share,mount_tag=" + job.ShareTag,
	})
}

// in gives the machine the files of a folder.
func (m machine) in(dir string) machine {
	m.initrd, m.console, m.share = filepath.Join(dir, "initrd"), filepath.Join(dir, "console.log"), filepath.Join(dir, "share")
	return m
}
