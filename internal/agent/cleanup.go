package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/sdn-tunnel/sdn-tunnel/internal/wg"
)

// stateFiles are what agents leave in the state directory, with what a crash may have
// left half written.
var stateFiles = []string{"key", "key.*", "plan.json", ".plan-*", "agent.sock"}

// Cleanup takes away everything that agents ever made on the node, the last part
// first. What fails does not keep it from trying the rest. The node's key is the
// caller's to remove.
func Cleanup(ctx context.Context, parts []Part, log *slog.Logger) error {
	var errs []error
	for _, p := range slices.Backward(parts) {
		if err := p.Remove(ctx); err != nil {
			errs = append(errs, fmt.Errorf("remove %s: %w", p.Name(), err))
			continue
		}
		log.Info("removed", "part", p.Name())
	}
	return errors.Join(errs...)
}

// RemoveState deletes the node's key, the saved plan and the socket, and the directory
// unless something else is in it: a later agent is a new peer.
func RemoveState(stateDir string, log *slog.Logger) error {
	var errs []error
	for _, pattern := range stateFiles {
		found, err := filepath.Glob(filepath.Join(stateDir, pattern))
		errs = append(errs, err)
		for _, path := range found {
			if strings.HasPrefix(filepath.Base(path), "key") {
				errs = append(errs, wg.DestroyKey(path))
				continue
			}
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("remove the node's state: %w", err))
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if others, err := os.ReadDir(stateDir); err == nil && len(others) > 0 {
		log.Warn("the state directory stays, for it holds what no agent made", "directory", stateDir, "for example", others[0].Name())
		return nil
	}
	err := os.Remove(stateDir)
	if errors.Is(err, syscall.EBUSY) {
		log.Info("the state directory is empty; it is a mount of the node's and stays", "directory", stateDir)
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove the state directory: %w", err)
	}
	log.Info("removed", "directory", stateDir)
	return nil
}
