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
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/image"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/machine"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/tools"
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

// product are the programs of the product that run in pods.
func product(version string) []program {
	return []program{
		{"sdn-tunnel-agent", "cmd/sdn-tunnel-agent", image.Agent, agentImage + version},
		{"sdn-tunnel-controller", "cmd/sdn-tunnel-controller", image.Controller, controllerImage + version},
		{"test-app", "samples/test-app", image.TestApp, testAppImage + version},
	}
}

func single(ref, path, binary string) image.Spec {
	return image.Spec{Ref: ref, Files: map[string]string{path: binary}, Dirs: []string{"/tmp"}, Entrypoint: []string{path}}
}

var pause = program{"pause", "internal/lab/pause", func(ref, b string) image.Spec { return single(ref, "/pause", b) }, pauseImage}

// ownSpecs are the lab's own images that are not built from the source tree.
func (l *Lab) ownSpecs() []image.Spec {
	bin := func(name string) string { return filepath.Join(l.tools.Bin(), name) }
	return []image.Spec{
		{Ref: busyboxImage, HostPrograms: []string{"busybox"}, Dirs: []string{"/tmp"},
			Symlinks: map[string]string{"/bin/sh": "/usr/bin/busybox"}, Entrypoint: []string{"/usr/bin/busybox"}},
		{Ref: coreDNSImage, Files: map[string]string{"/coredns": bin("coredns")}, Entrypoint: []string{"/coredns"}, User: "65532:65532"},
		single(metallbControllerImage, "/controller", bin("metallb-controller")),
		single(metallbSpeakerImage, "/speaker", bin("metallb-speaker")),
	}
}

// WriteProductImages builds the product's images into dir: agent.tar, controller.tar
// and test-app.tar. With kubeRouter, the path of that program, the agent's image has it
// and what it runs. It needs neither a lab nor root.
func WriteProductImages(ctx context.Context, version, dir, kubeRouter string) ([]string, error) {
	source, err := sourceTree()
	if err != nil {
		return nil, err
	}
	programs := product(version)
	if kubeRouter != "" {
		programs[0].spec = func(ref, binary string) image.Spec {
			return image.AgentWithKubeRouter(ref, binary, kubeRouter, filepath.Join(source, "images", "rt_tables"))
		}
	}
	bin, err := os.MkdirTemp("", "sdn-tunnel-images-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(bin) }()
	return buildImages(ctx, builder{source: source, version: version}, bin, dir, programs, nil)
}

// writeImages builds all images of the lab.
func (l *Lab) writeImages(ctx context.Context, source, version string) ([]string, error) {
	dir := l.path("images")
	b := builder{source: source, version: version, group: l.cgroup("build")}
	return buildImages(ctx, b, filepath.Join(dir, "bin"), dir, append(product(version), pause), l.ownSpecs())
}

// buildImages builds programs into bin and their images, and more, into dir, a tarball
// each, and returns those. A tarball whose contents did not change is left as it is.
func buildImages(ctx context.Context, b builder, bin, dir string, programs []program, more []image.Spec) ([]string, error) {
	if err := tools.NeedGo(); err != nil {
		return nil, err
	}
	for _, d := range []string{bin, dir} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return nil, err
		}
	}
	var specs []image.Spec
	for _, p := range programs {
		binary := filepath.Join(bin, p.name)
		if err := b.build(ctx, p.pkg, binary); err != nil {
			return nil, err
		}
		specs = append(specs, p.spec(p.ref, binary))
	}
	var tars []string
	for _, s := range append(specs, more...) {
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
	base, _, _ := strings.Cut(filepath.Base(ref), ":")
	return base + ".tar"
}

const versionVariable = "github.com/sdn-tunnel/sdn-tunnel/internal/version.Version"

// builder builds static programs of a source tree.
type builder struct {
	source, version string
	// group, if there is one, is the control group that builds run in.
	group string
}

func (b builder) build(ctx context.Context, pkg, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false",
		"-ldflags", "-s -w -X "+versionVariable+"="+b.version, "-o", out, "./"+pkg)
	cmd.Dir = b.source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if b.group != "" {
		group, err := machine.Into(b.group, cmd)
		if err != nil {
			return fmt.Errorf("build %s: %w", pkg, err)
		}
		defer group.Close()
	}
	said, err := cmd.CombinedOutput()
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("build %s: %w", pkg, context.Cause(ctx))
	}
	if err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, bytes.TrimSpace(said))
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
	if err := await(ctx, filepath.Join(fmt.Sprintf("/proc/%d/root", pidOf(spec)), runtime), patience); err != nil {
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

// ReloadImages builds the images again and loads those that changed into the nodes
// that are up. It returns the tarballs.
func (l *Lab) ReloadImages(ctx context.Context, version string) ([]string, error) {
	source, err := sourceTree()
	if err != nil {
		return nil, err
	}
	tars, err := l.writeImages(ctx, source, version)
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
