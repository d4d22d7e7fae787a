package kernelsuite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
)

// Place is where the tests run.
type Place string

// Places.
const (
	Auto  Place = "auto"  // Here if this kernel has everything, else Guest
	Here  Place = "here"  // on this machine's kernel
	Guest Place = "guest" // in a virtual machine
)

// Options say what to run and how. Zero values give the defaults.
type Options struct {
	// Source is a folder of the source tree.
	Source string
	// Packages are patterns as go list takes them; default: ./...
	Packages []string
	Run      string // regular expression of tests; default: all marked ones
	// Bench is a regular expression of benchmarks; with one, these are run and no tests.
	Bench string
	// BenchTime is how long each runs, as go test -benchtime takes it; default: 1s.
	BenchTime string
	Place     Place // default: Auto
	Long      bool  // tests that take minutes, too
	// Timeout is for one package's tests; default: 10 minutes.
	Timeout time.Duration
	// CoverProfile is the file for the coverage of all packages; empty: none is measured.
	CoverProfile string
	// Artifacts is the folder for files that tests keep; empty: they are dropped.
	Artifacts string
	// Out gets the tests' output, Say a line for each step.
	Out io.Writer
	Say func(format string, args ...any)
	// KubeRouter gives the path of kube-router; it is asked only if tests need that. nil:
	// those fail.
	KubeRouter func(context.Context) (string, error)

	kubeRouter string // the program; empty: no test needs it
}

func (o Options) withDefaults() Options {
	if len(o.Packages) == 0 {
		o.Packages = []string{"./..."}
	}
	if o.Run == "" {
		o.Run = "^" + kerneltest.Prefix
	}
	if o.Place == "" {
		o.Place = Auto
	}
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Minute
	}
	return o
}

// hot are programs that these tests and the agent run all the time.
var hot = []string{
	"sh", "ip", "nft", "nsenter", "unshare", "sysctl", "sleep", "mount", "mkdir", "touch", "modprobe", "wg", "conntrack", "ping",
	"ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ovs-dpctl", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd",
	"iptables", "ipset",
}

// guestMiB is the guest's memory; what it does not touch costs nothing.
const guestMiB = 3072

// Site is where the suite ran.
type Site struct {
	Place       Place // Here or Guest
	Kernel      string
	Accelerator guest.Accelerator // of a guest
}

// String says it to people.
func (s Site) String() string {
	switch {
	case s.Place == Here:
		return "this machine's kernel, " + s.Kernel
	case s.Accelerator == guest.KVM:
		return "a virtual machine (KVM) with Debian's " + s.Kernel
	default:
		return "an emulated machine (TCG) with Debian's " + s.Kernel + "; its clock counts instructions, 10^9 a second, on one processor"
	}
}

// Run runs the suite. The error is nil when all tests passed.
func Run(ctx context.Context, o Options) (Site, error) {
	o = o.withDefaults()
	began := time.Now()
	packages, err := marked(ctx, o.Source, o.Packages)
	if err != nil {
		return Site{}, err
	}
	work, err := os.MkdirTemp("", "sdn-tunnel-kernelsuite-")
	if err != nil {
		return Site{}, err
	}
	defer os.RemoveAll(work)
	o.Say("kernel tests: building %d packages", len(packages))
	for _, p := range packages {
		if err := p.build(ctx, o, work); err != nil {
			return Site{}, err
		}
	}
	if o.KubeRouter != nil && slices.ContainsFunc(packages, testPackage.needsKubeRouter) {
		if o.kubeRouter, err = o.KubeRouter(ctx); err != nil {
			return Site{}, err
		}
	}
	out := filepath.Join(work, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return Site{}, err
	}
	built := time.Now()
	site, outcomes, err := run(ctx, o, packages, work, out)
	if err != nil && len(outcomes) == 0 {
		return site, err
	}
	for _, outcome := range outcomes {
		o.Say("kernel tests: %s: %s (%.1f s)", outcome.Name, verdict(outcome), outcome.Took.Seconds())
		if outcome.Exit != 0 {
			err = errors.Join(err, fmt.Errorf("%s: %s", outcome.Name, verdict(outcome)))
		}
	}
	o.Say("kernel tests: built in %.1f s, run in %.1f s", built.Sub(began).Seconds(), time.Since(built).Seconds())
	return site, errors.Join(err, keep(o, packages, out))
}

func verdict(o job.Outcome) string {
	switch {
	case o.TimedOut:
		return "time ran out"
	case o.Error != "":
		return o.Error
	case o.Exit != 0:
		return fmt.Sprintf("failed, exit %d", o.Exit)
	}
	return "ok"
}

// run runs the packages' tests where the options say; out is the folder for what they leave.
func run(ctx context.Context, o Options, packages []testPackage, work, out string) (Site, []job.Outcome, error) {
	place := o.Place
	if place == Auto {
		place = Guest
		if missing := lacks(ctx); len(missing) == 0 {
			place = Here
		} else {
			o.Say("kernel tests: this kernel lacks %s: running in a guest", strings.Join(missing, ", "))
		}
	}
	output := &quiet{to: o.Out}
	defer output.flush()
	if place == Here {
		outcomes, err := runHere(ctx, commands(o, packages, work, out), output)
		return Site{Place: Here, Kernel: release()}, outcomes, err
	}
	g, err := newGuest(ctx, o, work)
	if err != nil {
		return Site{}, nil, err
	}
	outcomes, err := g.Run(ctx, commands(o, packages, work, filepath.Join(job.Share, job.Out)), output, out)
	return Site{Place: Guest, Kernel: g.Kernel.Release, Accelerator: g.Accelerator}, outcomes, err
}

// release is this machine's kernel, as uname -r gives it.
func release() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// newGuest builds the guest's init and finds its kernel.
func newGuest(ctx context.Context, o Options, work string) (guest.Guest, error) {
	init := filepath.Join(work, "init")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", init, "github.com/sdn-tunnel/sdn-tunnel/internal/guest/init")
	build.Dir, build.Env = o.Source, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return guest.Guest{}, fmt.Errorf("build the guest's init: %w: %s", err, text)
	}
	k, err := guest.FindKernel(ctx, o.Say)
	if err != nil {
		return guest.Guest{}, err
	}
	g, err := guest.Guest{Kernel: k, Init: init, Processors: runtime.NumCPU(), MiB: guestMiB, Programs: append(slices.Clone(hot), o.kubeRouter)}.Accelerate(ctx, o.Say)
	o.Say("kernel tests: guest with Debian's %s, %s", k.Release, g.Accelerator)
	return g, err
}

// lacks names the modules that this machine's kernel cannot load.
func lacks(ctx context.Context) (missing []string) {
	for _, m := range kerneltest.Modules {
		if exec.CommandContext(ctx, "modprobe", "-q", m).Run() != nil {
			missing = append(missing, m)
		}
	}
	return missing
}

// commands are the runs of the packages' test binaries.
func commands(o Options, packages []testPackage, work, out string) []job.Command {
	var all []job.Command
	for _, p := range packages {
		args := append([]string{filepath.Join(work, p.name()+".test"), "-test.timeout=" + o.Timeout.String()}, o.selection()...)
		if o.CoverProfile != "" {
			args = append(args, "-test.coverprofile="+filepath.Join(out, p.name()+".cover"))
		}
		env := []string{
			"PATH=" + os.Getenv("PATH"), "HOME=/root", "TERM=dumb", "LANG=C.UTF-8", "GOTRACEBACK=all",
			kerneltest.Variable + "=1", kerneltest.ArtifactsVariable + "=" + filepath.Join(out, p.name()),
			kerneltest.KubeRouterVariable + "=" + o.kubeRouter,
		}
		if o.Long {
			env = append(env, kerneltest.LongVariable+"=1")
		}
		all = append(all, job.Command{
			Name: p.ImportPath, Dir: p.Dir, Args: args, Timeout: o.Timeout + 20*time.Second,
			Env: env,
		})
	}
	return all
}

// selection is what a test binary is told to run.
func (o Options) selection() []string {
	if o.Bench == "" {
		return []string{"-test.v", "-test.count=1", "-test.run=" + o.Run}
	}
	return []string{"-test.run=^$", "-test.benchmem", "-test.bench=" + o.Bench, "-test.benchtime=" + cmp.Or(o.BenchTime, "1s")}
}

// runHere runs the commands on this machine.
func runHere(ctx context.Context, commands []job.Command, out io.Writer) ([]job.Outcome, error) {
	var outcomes []job.Outcome
	for _, c := range commands {
		bounded, cancel := context.WithTimeout(ctx, c.Timeout)
		cmd := exec.CommandContext(bounded, c.Args[0], c.Args[1:]...)
		cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.Dir, c.Env, out, out
		began := time.Now()
		err := cmd.Run()
		cancel()
		if ctx.Err() != nil {
			return outcomes, ctx.Err()
		}
		o := job.Outcome{Name: c.Name, Took: time.Since(began), Exit: cmd.ProcessState.ExitCode(), TimedOut: errors.Is(bounded.Err(), context.DeadlineExceeded)}
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			o.Exit, o.Error = -1, err.Error()
		}
		outcomes = append(outcomes, o)
	}
	return outcomes, nil
}

// keep puts coverage and artifacts where the options want them.
func keep(o Options, packages []testPackage, out string) error {
	if o.CoverProfile != "" {
		if err := mergeProfiles(o.CoverProfile, out, packages); err != nil {
			return err
		}
	}
	if o.Artifacts == "" {
		return nil
	}
	for _, p := range packages {
		from := filepath.Join(out, p.name())
		if _, err := os.Stat(from); err != nil {
			continue // its tests kept nothing
		}
		if err := os.CopyFS(filepath.Join(o.Artifacts, p.name()), os.DirFS(from)); err != nil {
			return err
		}
	}
	return nil
}
