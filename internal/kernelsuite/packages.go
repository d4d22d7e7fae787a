package kernelsuite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

const (
	mark = "github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
	// kubeRouter is the package that runs kube-router: its tests need the program, and so
	// do those of packages whose tests import it.
	kubeRouter = "github.com/sdn-tunnel/sdn-tunnel/internal/kuberouter"
)

// testPackage is what go list says of a package.
type testPackage struct {
	ImportPath, Dir           string
	TestImports, XTestImports []string
}

func (p testPackage) isMarked() bool {
	return slices.Contains(p.TestImports, mark) || slices.Contains(p.XTestImports, mark)
}

func (p testPackage) needsKubeRouter() bool {
	return p.ImportPath == kubeRouter || slices.Contains(p.TestImports, kubeRouter) || slices.Contains(p.XTestImports, kubeRouter)
}

// name is the package's in file names.
func (p testPackage) name() string {
	_, path, _ := strings.Cut(p.ImportPath, "sdn-tunnel/sdn-tunnel/")
	return strings.ReplaceAll(path, "/", "_")
}

// marked are the packages with tests for here.
func marked(ctx context.Context, source string, patterns []string) ([]testPackage, error) {
	cmd := exec.CommandContext(ctx, "go", append([]string{"list", "-json=ImportPath,Dir,TestImports,XTestImports"}, patterns...)...)
	cmd.Dir, cmd.Stderr = source, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list packages: %w", err)
	}
	packages, err := parsePackages(string(out))
	if err == nil && len(packages) == 0 {
		err = fmt.Errorf("no package of %s has tests that import %s", strings.Join(patterns, " "), mark)
	}
	return packages, err
}

// parsePackages reads go list -json, and leaves out what is not marked.
func parsePackages(text string) ([]testPackage, error) {
	var all []testPackage
	for d := json.NewDecoder(strings.NewReader(text)); ; {
		var p testPackage
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list packages: %w", err)
		}
		if p.isMarked() {
			all = append(all, p)
		}
	}
}

// build compiles the package's test binary into the folder.
func (p testPackage) build(ctx context.Context, o Options, folder string) error {
	args := []string{"test", "-c", "-o", filepath.Join(folder, p.name()+".test")}
	if o.CoverProfile != "" {
		args = append(args, "-coverpkg=./...")
	}
	cmd := exec.CommandContext(ctx, "go", append(args, p.ImportPath)...)
	cmd.Dir, cmd.Env = o.Source, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests of %s: %w: %s", p.ImportPath, err, text)
	}
	return nil
}

// mergeProfiles joins the jobs' profiles, those in the folder; only the first line of each,
// the mode, is not a block. Blocks that several jobs reach are listed by each, as go tool
// cover expects them.
func mergeProfiles(to, folder string) error {
	names, err := filepath.Glob(filepath.Join(folder, "*.cover"))
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		mode, blocks, _ := strings.Cut(string(text), "\n")
		if b.Len() == 0 {
			b.WriteString(mode + "\n")
		}
		b.WriteString(blocks)
	}
	return os.WriteFile(to, []byte(b.String()), 0o644)
}
