// Package job is what goes between a guest's host and its init: commands one way,
// their outcomes the other, as files in the shared folder.
package job

import "time"

// Names in the shared folder, and where the guest mounts it.
const (
	File     = "job.json"       // a Job
	Outcomes = "outcomes.jsonl" // an Outcome a line, each written when its command ends
	Out      = "out"            // folder for what the commands leave
	Share    = "/vm"
)

// Tags of the 9p shares, and name of the output's port.
const (
	HostTag  = "host"
	ShareTag = "share"
	Port     = "out"
)

// Job is what a guest does before it powers itself off.
type Job struct {
	// Modules is the host's folder with the guest's kernel modules.
	Modules string
	// Release is the kernel's, as uname -r gives it.
	Release string
	// Hot are files that the commands use again and again: the guest copies them into
	// its memory first.
	Hot      []string
	Commands []Command
}

// Command is one program to run, alone in the guest: what it leaves running is ended.
type Command struct {
	Name string
	Dir  string
	Args []string
	Env  []string // as in os/exec: all of it
	// Timeout ends the command: by SIGQUIT, then by SIGKILL. 0: none.
	Timeout time.Duration
}

// Outcome is what became of a command.
type Outcome struct {
	Name string
	// Exit is the exit status; -1: ended by a signal, or not started.
	Exit     int
	Error    string // why it did not end by itself
	TimedOut bool
	Took     time.Duration
}
