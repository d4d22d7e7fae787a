package kernelsuite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest"
	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
)

// hot are programs that these tests and the agent run all the time.
var hot = []string{
	"sh", "ip", "nft", "nsenter", "unshare", "sysctl", "sleep", "mount", "mkdir", "touch", "modprobe", "wg", "conntrack", "ping",
	"ovs-vsctl", "ovs-ofctl", "ovs-appctl", "ovs-dpctl", "ovsdb-tool", "ovsdb-server", "ovs-vswitchd",
	"iptables", "ipset",
}

// guestMiB is the guest's memory; what it does not touch costs nothing.
const guestMiB = 3072

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
	g, err := guest.Guest{Kernel: k, Init: init, Processors: runtime.NumCPU(), MiB: guestMiB, Programs: hot}.Accelerate(ctx, o.Say)
	o.Say("kernel tests: guest with Debian's %s, %s", k.Release, g.Accelerator)
	return g, err
}

// runInGuests runs the jobs. An emulated machine has one processor: so as not to leave the
// rest of this machine's idle, each test then gets a guest of its own, and as many guests run
// as there are processors. Benchmarks are not to disturb each other, and share one.
func runInGuests(ctx context.Context, o Options, g guest.Guest, jobs []testJob, out string) ([]job.Outcome, error) {
	together := [][]testJob{jobs}
	if g.Accelerator == guest.Emulation && o.Bench == "" {
		together = slices.Collect(slices.Chunk(jobs, 1))
	}
	var (
		lock     sync.Mutex
		outcomes = make([][]job.Outcome, len(together))
		errs     = make([]error, len(together))
		lanes    errgroup.Group
	)
	lanes.SetLimit(g.Processors)
	for i, some := range together {
		lanes.Go(func() error {
			var text bytes.Buffer
			output := &quiet{to: &text}
			if len(together) == 1 {
				output.to = o.Out // as it comes
			} else {
				o.Say("kernel tests: %s begins", some[0].name())
			}
			outcomes[i], errs[i] = o.inGuest(ctx, g, some, output, out)
			output.flush()
			lock.Lock()
			defer lock.Unlock()
			_, err := text.WriteTo(o.Out)
			return err
		})
	}
	err := lanes.Wait()
	return slices.Concat(outcomes...), errors.Join(append(errs, err)...)
}

// inGuest boots a guest for jobs.
func (o Options) inGuest(ctx context.Context, g guest.Guest, jobs []testJob, output io.Writer, out string) ([]job.Outcome, error) {
	if slices.ContainsFunc(jobs, func(j testJob) bool { return j.needsKubeRouter() }) {
		g.Programs = append(slices.Clone(g.Programs), o.kubeRouter)
	}
	commands := o.commands(jobs, filepath.Join(job.Share, job.Out))
	for i := range commands {
		commands[i].Env = append(commands[i].Env, kerneltest.GuestVariable+"=1")
	}
	return g.Run(ctx, commands, output, out)
}
