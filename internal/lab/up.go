package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
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

var programs = []string{"nft", "ip", "nsenter", "ovsdb-server", "ovsdb-tool", "ovs-vswitchd", "ovs-vsctl", "ovs-ofctl", "sshd", "busybox", "go"}

// Up brings a lab up, from nothing to Ready nodes and running add-ons.
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
	if err := os.MkdirAll(StateRoot, 0o755); err != nil {
		return nil, err
	}
	if err := os.Mkdir(l.StateDir, 0o700); errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("lab %s is up, or half up: see sdn-tunnel lab status --name %[1]s; sdn-tunnel lab down --name %[1]s removes it", l.Name)
	} else if err != nil {
		return nil, err
	}
	if err := raiseLimits(); err != nil {
		return nil, err
	}
	if l.tools, err = (tools.Builder{Source: filepath.Join(l.source, "lab", "tools"), Progress: func(s string) { l.Say("%s", s) }}).Ensure(ctx); err != nil {
		return nil, err
	}
	return l, l.up(ctx)
}

func check() error {
	if os.Geteuid() != 0 {
		return errors.New("a lab needs root: it makes network namespaces, mounts and control groups")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			return fmt.Errorf("the lab needs %s: on Debian, apt install nftables iproute2 util-linux openvswitch-switch openssh-server busybox-static, and Go", p)
		}
	}
	return nil
}

func (l *Lab) up(ctx context.Context) error {
	if err := l.save(); err != nil {
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
		t, err := WriteImages(ctx, l.source, Version, l.path("images"), l.toolImages())
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
