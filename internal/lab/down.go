package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// Down ends a lab and removes all of it, whatever state it is in. It asks no record:
// an Up that was killed midway is removed as well. Nothing there is no error.
func Down(name string) error {
	if os.Geteuid() != 0 {
		return errors.New("lab down needs root")
	}
	if name == "" || strings.ContainsAny(name, "/.") {
		return fmt.Errorf("lab name %q: use 1 to 12 letters and digits", name)
	}
	var errs []error
	if err := machine.KillAll(filepath.Join(cgroupRoot, name), patience); err != nil {
		errs = append(errs, err)
	}
	if err := underlay.Remove(name); err != nil {
		errs = append(errs, err)
	}
	dir := filepath.Join(StateRoot, name)
	if err := unmountBelow(dir); err != nil {
		return errors.Join(append(errs, err)...) // never delete through a mount
	}
	if err := os.RemoveAll(dir); err != nil {
		errs = append(errs, err)
	}
	if err := restoreLimits(); err != nil {
		errs = append(errs, err)
	}
	// The parents are shared by all labs: the last one takes them along.
	_ = os.Remove(StateRoot)
	if err := machine.RemoveIfEmpty(cgroupRoot); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// unmountBelow lets go of mounts that are visible here; machines' own are not.
func unmountBelow(dir string) error {
	b, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(b), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) < 2 || !strings.HasPrefix(fields[1], dir+"/") {
			continue
		}
		if err := unix.Unmount(fields[1], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", fields[1], err)
		}
	}
	return nil
}
