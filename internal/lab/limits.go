package lab

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// limits are those of the kernel that are counted per user, not per namespace, and
// that a few kubelets together exceed. They are the only thing of the host's that a
// lab changes: the first Up keeps what they were, the last Down sets them back.
var limits = map[string]int{
	"fs/inotify/max_user_instances": 4096,
	"fs/inotify/max_user_watches":   262144,
}

func limitsFile() string { return filepath.Join(StateRoot, ".limits.json") }

// raiseLimits raises what is too low.
func raiseLimits() error {
	was := map[string]int{}
	for key, want := range limits {
		b, err := os.ReadFile("/proc/sys/" + key)
		if err != nil {
			return err
		}
		have, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			return fmt.Errorf("sysctl %s: %w", key, err)
		}
		if have < want {
			was[key] = have
		}
	}
	if len(was) == 0 {
		return nil
	}
	b, err := json.Marshal(was)
	if err != nil {
		return err
	}
	// Another lab may have kept them already, and been killed before it raised them.
	f, err := os.OpenFile(limitsFile(), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.Write(b)
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for key := range was {
		if err := setLimit(key, limits[key]); err != nil {
			return err
		}
	}
	return nil
}

// restoreLimits sets the limits back when no lab is left.
func restoreLimits() error {
	names, err := Names()
	if err != nil || len(names) > 0 {
		return err
	}
	b, err := os.ReadFile(limitsFile())
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	was := map[string]int{}
	if err := json.Unmarshal(b, &was); err != nil {
		return fmt.Errorf("%s: %w: set the inotify limits back by hand and remove it", limitsFile(), err)
	}
	for key, value := range was {
		if _, ours := limits[key]; !ours {
			continue
		}
		if err := setLimit(key, value); err != nil {
			return err
		}
	}
	return os.Remove(limitsFile())
}

func setLimit(key string, value int) error {
	if err := os.WriteFile("/proc/sys/"+key, []byte(strconv.Itoa(value)), 0o644); err != nil {
		return fmt.Errorf("sysctl %s: %w", key, err)
	}
	return nil
}
