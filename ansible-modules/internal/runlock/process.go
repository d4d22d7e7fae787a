package runlock

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/prometheus/procfs"
)

// ErrNoRun says that a process does not descend from ansible-playbook.
var ErrNoRun = errors.New("not started by ansible-playbook on this machine")

// Run is ansible-playbook's process; its start tells it from another that gets its number.
type Run struct {
	PID   int
	start string
}

// Find finds the run that a process is of: its first ansible-playbook, not a worker.
func Find(pid int) (Run, error) {
	found := 0
	for ; pid > 0; pid = parent(pid) {
		if isAnsiblePlaybook(pid) {
			found = pid
		}
	}
	if found == 0 {
		return Run{}, ErrNoRun
	}
	return Of(found)
}

// Of is the run of a process that is known to be ansible-playbook's.
func Of(pid int) (Run, error) {
	start := started(pid)
	if start == "" {
		return Run{}, fmt.Errorf("process %d is over", pid)
	}
	return Run{PID: pid, start: start}, nil
}

// isAnsiblePlaybook knows it as a program, and as a script that Python runs.
func isAnsiblePlaybook(pid int) bool {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return false
	}
	args, err := p.CmdLine()
	if err != nil || len(args) == 0 {
		return false
	}
	const name = "ansible-playbook"
	python := strings.HasPrefix(filepath.Base(args[0]), "python")
	return filepath.Base(args[0]) == name || python && len(args) > 1 && filepath.Base(args[1]) == name
}

// parent is the parent of a process; 0 if there is none to be seen.
func parent(pid int) int {
	s, err := stat(pid)
	if err != nil {
		return 0
	}
	return s.PPID
}

// started is when a process began, in ticks since the machine did; empty if there is none.
func started(pid int) string {
	s, err := stat(pid)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(s.Starttime, 10)
}

func stat(pid int) (procfs.ProcStat, error) {
	p, err := procfs.NewProc(pid)
	if err != nil {
		return procfs.ProcStat{}, err
	}
	return p.Stat()
}
