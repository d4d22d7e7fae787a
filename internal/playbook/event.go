package playbook

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"strings"
)

// Kinds of events.
const (
	EventPlay   = "play"   // a play begins
	EventTask   = "task"   // a task begins, for all hosts
	EventStart  = "start"  // a task begins on a host
	EventResult = "result" // a task ended on a host
	EventNote   = "note"   // a module says of a host why it still runs
	EventStats  = "stats"  // the playbook ended
)

// Event is a step of a playbook, as the callback plugin writes it, or a module's note.
type Event struct {
	Kind string `json:"event"`
	Play string `json:"play"`
	Role string `json:"role"`
	Task string `json:"task"`
	Host string `json:"host"`
	// Status of a result: ok, changed, skipped, failed, ignored, unreachable, retry.
	Status   string   `json:"status"`
	Message  string   `json:"message"`
	Warnings []string `json:"warnings"`
	// Changes are what the task changed, one line each, where its module says so.
	Changes []string         `json:"changes"`
	Hosts   map[string]Stats `json:"hosts"`
}

// Stats are Ansible's counts for a host.
type Stats struct {
	OK          int `json:"ok"`
	Changed     int `json:"changed"`
	Failures    int `json:"failures"`
	Unreachable int `json:"unreachable"`
	Skipped     int `json:"skipped"`
	Rescued     int `json:"rescued"`
	Ignored     int `json:"ignored"`
}

// endOfEvents is the line that ends a stream; the plugin never writes it.
const endOfEvents = "end\n"

// readEvents calls f for each event until the end; lines may be of any length, and
// lines that are no events are passed over.
func readEvents(r io.Reader, f func(Event)) error {
	lines := bufio.NewReader(r)
	for {
		line, err := lines.ReadString('\n')
		if line == endOfEvents || errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var e Event
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &e) == nil && e.Kind != "" {
			f(e)
		}
	}
}
