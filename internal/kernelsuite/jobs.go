package kernelsuite

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/guest/job"
	"github.com/sdn-tunnel/sdn-tunnel/internal/kerneltest"
)

// testJob is what one process runs: a test with all its parts, or a package's benchmarks.
type testJob struct {
	testPackage
	test   string // empty: benchmarks
	binary string
}

// name tells the job from all others, and can be a file's.
func (j testJob) name() string {
	if j.test == "" {
		return j.testPackage.name()
	}
	return j.testPackage.name() + "." + j.test
}

// jobs are those of the packages, whose binaries are in the folder, that the options ask for.
func (o Options) jobs(ctx context.Context, packages []testPackage, folder string) (all []testJob, err error) {
	for _, p := range packages {
		j := testJob{testPackage: p, binary: filepath.Join(folder, p.name()+".test")}
		if o.Bench != "" {
			all = append(all, j)
			continue
		}
		tests, err := o.tests(ctx, j)
		if err != nil {
			return nil, err
		}
		for _, j.test = range tests {
			all = append(all, j)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("no test matches %q", o.Run)
	}
	return all, nil
}

// tests are the names of a package's tests that the options ask for.
func (o Options) tests(ctx context.Context, j testJob) ([]string, error) {
	pattern, _, _ := strings.Cut(o.Run, "/") // what follows is about parts of tests
	list := exec.CommandContext(ctx, j.binary, "-test.list="+pattern)
	list.Dir = j.Dir
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("list the tests of %s: %w", j.ImportPath, err)
	}
	return slices.DeleteFunc(strings.Fields(string(out)), func(name string) bool { return !strings.HasPrefix(name, kerneltest.Prefix) }), nil
}

// commands are the jobs' processes; out is the folder for what they leave, as they see it.
func (o Options) commands(jobs []testJob, out string) (all []job.Command) {
	for _, j := range jobs {
		args := append([]string{j.binary, "-test.timeout=" + o.Timeout.String()}, o.selection(j)...)
		if o.CoverProfile != "" {
			args = append(args, "-test.coverprofile="+filepath.Join(out, j.name()+".cover"))
		}
		env := []string{
			"PATH=" + os.Getenv("PATH"), "HOME=/root", "TERM=dumb", "LANG=C.UTF-8", "GOTRACEBACK=all",
			kerneltest.Variable + "=1", kerneltest.ArtifactsVariable + "=" + filepath.Join(out, j.testPackage.name()),
			kerneltest.KubeRouterVariable + "=" + o.kubeRouter,
		}
		if o.Long {
			env = append(env, kerneltest.LongVariable+"=1")
		}
		name := strings.TrimSpace(j.ImportPath + " " + j.test)
		all = append(all, job.Command{Name: name, Dir: j.Dir, Args: args, Timeout: o.Timeout + 20*time.Second, Env: env})
	}
	return all
}

// selection is what a test binary is told to run for a job.
func (o Options) selection(j testJob) []string {
	if j.test == "" {
		return []string{"-test.run=^$", "-test.benchmem", "-test.bench=" + o.Bench, "-test.benchtime=" + cmp.Or(o.BenchTime, "1s")}
	}
	_, parts, some := strings.Cut(o.Run, "/")
	run := "^" + j.test + "$"
	if some {
		run += "/" + parts
	}
	return []string{"-test.v", "-test.count=1", "-test.run=" + run}
}
