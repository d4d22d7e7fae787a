package kernelsuite

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
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
	// Timeout is for one test with all its parts, or one package's benchmarks; default: 10
	// minutes.
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
	jobs, err := o.jobs(ctx, packages, work)
	if err != nil {
		return Site{}, err
	}
	out := filepath.Join(work, "out")
	if err := os.Mkdir(out, 0o755); err != nil {
		return Site{}, err
	}
	built := time.Now()
	site, outcomes, err := run(ctx, o, jobs, work, out)
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

// run runs the jobs where the options say; out is the folder for what they leave.
func run(ctx context.Context, o Options, jobs []testJob, work, out string) (Site, []job.Outcome, error) {
	place := o.Place
	if place == Auto {
		place = Guest
		if missing := lacks(ctx); len(missing) == 0 {
			place = Here
		} else {
			o.Say("kernel tests: this kernel lacks %s: running in a guest", strings.Join(missing, ", "))
		}
	}
	if place == Here {
		output := &quiet{to: o.Out}
		defer output.flush()
		outcomes, err := runHere(ctx, o.commands(jobs, out), output)
		return Site{Place: Here, Kernel: release()}, outcomes, err
	}
	g, err := newGuest(ctx, o, work)
	if err != nil {
		return Site{}, nil, err
	}
	outcomes, err := runInGuests(ctx, o, g, jobs, out)
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

// lacks names the modules that this machine's kernel cannot load.
func lacks(ctx context.Context) (missing []string) {
	for _, m := range kerneltest.Modules {
		if exec.CommandContext(ctx, "modprobe", "-q", m).Run() != nil {
			missing = append(missing, m)
		}
	}
	return missing
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
		if err := mergeProfiles(o.CoverProfile, out); err != nil {
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
