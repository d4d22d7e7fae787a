package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/image"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
)

// Names of the images. The product's own are what its roles deploy by default.
const (
	pauseImage             = "localhost/sdn-tunnel-lab/pause:1"
	coreDNSImage           = "localhost/sdn-tunnel-lab/coredns:1"
	metallbControllerImage = "localhost/sdn-tunnel-lab/metallb-controller:1"
	metallbSpeakerImage    = "localhost/sdn-tunnel-lab/metallb-speaker:1"
	busyboxImage           = "localhost/sdn-tunnel-lab/busybox:1"

	agentImage      = "localhost/sdn-tunnel/agent:"
	controllerImage = "localhost/sdn-tunnel/controller:"
	testAppImage    = "localhost/sdn-tunnel/test-app:"
)

// program is a binary of the source tree that goes into an image.
type program struct {
	name, pkg string
	spec      func(ref, binary string) image.Spec
	ref       string
}

// ownPrograms are the product's programs that run in pods, as far as the tree has
// them, and pause.
func ownPrograms(source, version string) []program {
	all := []program{
		{"pause", "internal/lab/pause", func(ref, b string) image.Spec { return single(ref, "/pause", b) }, pauseImage},
		{"sdn-tunnel-agent", "cmd/sdn-tunnel-agent", image.Agent, agentImage + version},
		{"sdn-tunnel-controller", "cmd/sdn-tunnel-controller", image.Controller, controllerImage + version},
		{"test-app", "samples/test-app", image.TestApp, testAppImage + version},
	}
	var have []program
	for _, p := range all {
		if _, err := os.Stat(filepath.Join(source, p.pkg)); err == nil {
			have = append(have, p)
		}
	}
	return have
}

func single(ref, path, binary string) image.Spec {
	return image.Spec{Ref: ref, Files: map[string]string{path: binary}, Dirs: []string{"/tmp"}, Entrypoint: []string{path}}
}

// toolImages are made of the pinned tools.
func (l *Lab) toolImages() []image.Spec {
	bin := func(name string) string { return filepath.Join(l.tools.Bin(), name) }
	return []image.Spec{
		single(coreDNSImage, "/coredns", bin("coredns")),
		single(metallbControllerImage, "/controller", bin("metallb-controller")),
		single(metallbSpeakerImage, "/speaker", bin("metallb-speaker")),
	}
}

// WriteImages builds every image into dir, a tarball each, and returns their names.
// A tarball whose contents did not change is left as it is.
func WriteImages(ctx context.Context, source, version, dir string, more []image.Spec) ([]string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o755); err != nil {
		return nil, err
	}
	specs := append([]image.Spec{{
		Ref: busyboxImage, HostPrograms: []string{"busybox"}, Dirs: []string{"/tmp"},
		Symlinks: map[string]string{"/bin/sh": "/usr/bin/busybox"}, Entrypoint: []string{"/usr/bin/busybox"},
	}}, more...)
	for _, p := range ownPrograms(source, version) {
		binary := filepath.Join(dir, "bin", p.name)
		if err := goBuild(ctx, source, p.pkg, binary, version); err != nil {
			return nil, err
		}
		specs = append(specs, p.spec(p.ref, binary))
	}
	var tars []string
	for _, s := range specs {
		tar := filepath.Join(dir, tarName(s.Ref))
		if _, err := image.Write(tar, s); err != nil {
			return nil, err
		}
		tars = append(tars, tar)
	}
	return tars, nil
}

// tarName is the file of an image: the last part of its name.
func tarName(ref string) string {
	base := filepath.Base(ref)
	for i := range base {
		if base[i] == ':' {
			base = base[:i]
			break
		}
	}
	return base + ".tar"
}

const versionVariable = "github.com/sdn-tunnel/sdn-tunnel/internal/version.Version"

func goBuild(ctx context.Context, source, pkg, out, version string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X "+versionVariable+"="+version, "-o", out, "./"+pkg)
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, bytes.TrimSpace(b))
	}
	return nil
}

// LoadImages brings a node's container runtime up to date with the tarballs: those
// that it has in the same form are left out.
func (l *Lab) LoadImages(ctx context.Context, n layout.Node, tars []string) error {
	spec, err := l.NodeMachine(n.Name)
	if err != nil {
		return err
	}
	if err := await(ctx, filepath.Join(fmt.Sprintf("/proc/%d/root", pidOf(spec)), runtime), 30*time.Second); err != nil {
		return fmt.Errorf("node %s: containerd: %w", n.Name, err)
	}
	marks := filepath.Join(l.nodeDir(n), "images")
	if err := os.MkdirAll(marks, 0o755); err != nil {
		return err
	}
	for _, tar := range tars {
		sum, err := fileSum(tar)
		if err != nil {
			return err
		}
		mark := filepath.Join(marks, filepath.Base(tar))
		if had, err := os.ReadFile(mark); err == nil && string(had) == sum {
			continue
		}
		cmd, err := spec.Exec(filepath.Join(l.tools.Bin(), "ctr"), "--address="+runtime, "--namespace=k8s.io",
			"images", "import", "--local", "--no-unpack", tar)
		if err != nil {
			return err
		}
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("node %s: import %s: %w: %s", n.Name, filepath.Base(tar), err, bytes.TrimSpace(out))
		}
		if err := os.WriteFile(mark, []byte(sum), 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(l.imagesLoaded(n), nil, 0o644)
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// await waits until a path exists.
func await(ctx context.Context, path string, limit time.Duration) error {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%s did not appear in %s", path, limit))
	defer cancel()
	for {
		if _, err := os.Stat(path); err == nil || !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Images builds the images into the lab's folder and loads them into its nodes, or
// into dir when no such lab is up.
func Images(ctx context.Context, name, version, dir string) ([]string, error) {
	source, err := sourceTree()
	if err != nil {
		return nil, err
	}
	l, err := Open(name)
	if errors.Is(err, ErrNone) {
		return WriteImages(ctx, source, version, dir, nil)
	}
	if err != nil {
		return nil, err
	}
	tars, err := WriteImages(ctx, source, version, l.path("images"), l.toolImages())
	if err != nil {
		return nil, err
	}
	for _, c := range l.Clusters {
		for _, n := range c.Nodes {
			if spec, err := l.NodeMachine(n.Name); err != nil || pidOf(spec) == 0 {
				continue
			}
			if err := l.LoadImages(ctx, n, tars); err != nil {
				return tars, err
			}
		}
	}
	return tars, nil
}

// Boot starts a machine that is off.
func (l *Lab) Boot(s *machine.Spec) error { return s.Start(l.selfCommand("machine-init")) }
