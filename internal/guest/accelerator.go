package guest

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
)

// trialTime is how long KVM may take for a boot that takes it two seconds. On a machine
// that is virtual itself, KVM may be there and yet hang with an ordinary kernel.
const trialTime = 15 * time.Second

// Accelerate gives the guest KVM if a trial shows that it boots with it, else emulation.
// What the trial showed is kept until the machine is booted again.
func (g Guest) Accelerate(ctx context.Context, say func(format string, args ...any)) (Guest, error) {
	g.Accelerator = Emulation
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if err != nil {
		return g, nil //nolint:nilerr // no KVM, or none for this user
	}
	kvm.Close()
	memory, err := trialMemory(g.Kernel)
	if err != nil {
		return g, err
	}
	if text, err := os.ReadFile(memory); err == nil {
		g.Accelerator = Accelerator(strings.TrimSpace(string(text)))
		return g, nil
	}
	say("guest: trying KVM")
	if g.tryKVM(ctx) {
		g.Accelerator = KVM
	} else if ctx.Err() == nil {
		say("guest: KVM is there but does not boot the kernel within %v: emulating", trialTime)
	}
	if ctx.Err() != nil {
		return g, ctx.Err()
	}
	return g, os.WriteFile(memory, []byte(g.Accelerator+"\n"), 0o644)
}

// trialMemory is the file that keeps the trial's result, for this boot of this machine
// with that kernel.
func trialMemory(k Kernel) (string, error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("identity of this boot: %w", err)
	}
	return filepath.Join(cache, "accelerator-"+k.Release+"-"+strings.TrimSpace(string(id))), nil
}

func (g Guest) tryKVM(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, trialTime)
	defer cancel()
	g.Accelerator = KVM
	outcomes, err := g.Run(ctx, []job.Command{{Name: "trial", Dir: "/", Args: []string{"/bin/true"}, Env: []string{}}}, io.Discard, "")
	return err == nil && outcomes[0].Exit == 0
}
