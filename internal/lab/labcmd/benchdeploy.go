package labcmd

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/sdn-tunnel/sdn-tunnel/internal/bench"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab"
	"github.com/sdn-tunnel/sdn-tunnel/internal/lab/layout"
)

// benchLab is the lab that deploys are measured on.
const benchLab = "bench"

// benchDeploys brings up a lab, deploys twice and takes the lab down, also when ctx ends.
func benchDeploys(ctx context.Context, c *cli.Context, out io.Writer, clusters int) (err error) {
	if _, err := lab.Open(benchLab); !errors.Is(err, lab.ErrNone) {
		return fmt.Errorf("there is a lab %s already: sdn-tunnel lab down --name %[1]s removes it", benchLab)
	}
	defer func() { err = errors.Join(err, lab.Down(benchLab)) }()
	l, err := lab.Up(ctx, lab.Options{Config: layout.Config{
		Name: benchLab, Clusters: clusters, Nodes: c.Int("nodes"), SDNMode: layout.ModeNetworkPolicy,
	}, Say: progress(c)})
	if err != nil {
		return err
	}
	for _, run := range []string{"first", "second"} {
		deploy := bench.Deploy{Clusters: clusters, Run: run}
		if err := timedDeploy(ctx, l, &deploy); err != nil {
			return fmt.Errorf("%s deploy: %w", run, err)
		}
		if _, err := deploy.WriteTo(out); err != nil {
			return err
		}
	}
	return nil
}

// timedDeploy deploys as a user does, with this program, and takes the time of each play.
func timedDeploy(ctx context.Context, l *lab.Lab, d *bench.Deploy) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd, err := l.Command("", self, "deploy", "-i", l.InventoryPath())
	if err != nil {
		return err
	}
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	// Interrupts of a terminal come from here, once.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began, done := time.Now(), make(chan error, 1)
	go func() { done <- l.RunInOperator(cmd); _ = write.Close() }()
	stop := context.AfterFunc(ctx, func() {
		if cmd.Process != nil {
			_ = cmd.Process.Signal(os.Interrupt)
		}
	})
	defer stop()
	var said string
	d.Stages, said = readStages(read, began, time.Now)
	if err := <-done; err != nil {
		return fmt.Errorf("%w\n%s", err, said)
	}
	d.Took = time.Since(began)
	d.CPU = cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()
	return nil
}

// readStages reads the progress of a deploy to its end: each line with "== " begins a
// play, or is the summary. What came before the first, the start of Ansible, is a stage
// as well.
func readStages(r io.Reader, began time.Time, now func() time.Time) (stages []bench.Stage, said string) {
	name, since := "Start", began
	for lines := bufio.NewScanner(r); lines.Scan(); {
		said += lines.Text() + "\n"
		next, ok := strings.CutPrefix(lines.Text(), "== ")
		if !ok || name == "" {
			continue
		}
		at := now()
		stages = append(stages, bench.Stage{Name: name, Took: at.Sub(since)})
		if name, since = next, at; strings.HasPrefix(next, "changed ") {
			name = ""
		}
	}
	return stages, said
}
