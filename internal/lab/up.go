package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/tools"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/underlay"
)

// Options are what Up takes.
type Options struct {
	layout.Config // StateDir is set by Up
	Say           func(format string, args ...any)
}

// Up brings a lab up, from nothing to Ready nodes and running add-ons. What the
// machine lacks for it is said before anything is made; what fails later leaves the lab
// half up, to be looked at, for Down to remove.
func Up(ctx context.Context, o Options) (*Lab, error) {
	if err := check(); err != nil {
		return nil, err
	}
	o.StateDir = filepath.Join(StateRoot, o.Name)
	plan, err := layout.New(o.Config)
	if err != nil {
		return nil, err
	}
	l := &Lab{Lab: plan, Say: o.Say, began: time.Now()}
	if l.source, err = sourceTree(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(l.StateDir); err == nil {
		return nil, l.exists()
	}
	if l.tools, err = buildTools(ctx, l.source, o.Say); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(StateRoot, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(l.StateDir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, l.exists() // made while the tools were built
	} else if err != nil {
		return nil, err
	}
	if err := l.up(ctx); err != nil {
		return nil, fmt.Errorf("%w\nlab %s is half up: sdn-tunnel lab logs --name %[2]s MACHINE tells more, sdn-tunnel lab down --name %[2]s removes it", err, l.Name)
	}
	return l, nil
}

func (l *Lab) exists() error {
	return fmt.Errorf("lab %s is up, or half up: sdn-tunnel lab status --name %[1]s shows it, sdn-tunnel lab down --name %[1]s removes it", l.Name)
}

// Tools builds the pinned programs, if the cache has them not yet, and gives the
// folder that they are in. It needs no root.
func Tools(ctx context.Context, say func(format string, args ...any)) (string, error) {
	source, err := sourceTree()
	if err != nil {
		return "", err
	}
	set, err := buildTools(ctx, source, say)
	return set.Bin(), err
}

// KubeRouter builds the pinned kube-router, if the cache has it not yet, and gives its path.
// It needs no root.
func KubeRouter(ctx context.Context, say func(format string, args ...any)) (string, error) {
	source, err := sourceTree()
	if err != nil {
		return "", err
	}
	b := tools.Builder{Source: filepath.Join(source, "lab", "tools"), Progress: func(s string) { say("%s", s) }}
	return b.KubeRouter(ctx)
}

func buildTools(ctx context.Context, source string, say func(format string, args ...any)) (tools.Set, error) {
	b := tools.Builder{Source: filepath.Join(source, "lab", "tools"), Progress: func(s string) { say("%s", s) }}
	return b.Ensure(ctx)
}

func (l *Lab) up(ctx context.Context) error {
	if err := l.save(); err != nil {
		return err
	}
	if err := raiseLimits(); err != nil {
		return err
	}
	if err := copyProgram(l.self()); err != nil {
		return err
	}
	if err := l.writeSSH(); err != nil {
		return err
	}
	if err := underlay.Create(l.Lab); err != nil {
		return err
	}
	l.step("underlay")
	group, ctx := errgroup.WithContext(ctx)
	tars := make(chan []string, 1)
	images := func() []string { t := <-tars; tars <- t; return t }
	group.Go(func() error {
		t, err := l.writeImages(ctx, l.source, Version)
		tars <- t
		l.step("images")
		return err
	})
	for _, c := range l.Clusters {
		group.Go(func() error {
			if err := l.clusterUp(ctx, c, images); err != nil {
				return fmt.Errorf("cluster %s: %w", c.Name, err)
			}
			l.step("cluster " + c.Name + " ready")
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	if err := l.mergeKubeconfigs(); err != nil {
		return err
	}
	return l.writeInventory()
}

// Version is the tag of the product's images in the lab.
const Version = "dev"

func (l *Lab) step(what string) { l.Say("%5.1f s  %s", time.Since(l.began).Seconds(), what) }

// clusterUp starts a control plane, its nodes beside it, and what runs in the cluster.
func (l *Lab) clusterUp(ctx context.Context, c layout.Cluster, images func() []string) error {
	plane, creds, err := l.controlPlane(c)
	if err != nil {
		return err
	}
	if err := plane.Start(l.selfCommand("machine-init")); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, n := range c.Nodes {
		group.Go(func() error {
			spec, err := l.node(c, n, creds)
			if err != nil {
				return err
			}
			if err := spec.Start(l.selfCommand("machine-init")); err != nil {
				return err
			}
			return l.LoadImages(ctx, n, images())
		})
	}
	group.Go(func() error { return l.fill(ctx, c) })
	return group.Wait()
}

func pidOf(s *machine.Spec) int {
	pid, err := s.Pid()
	if err != nil {
		return 0
	}
	return pid
}

// copyProgram copies this program to where the machines run it.
func copyProgram(to string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	in, err := os.Open(self)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}
