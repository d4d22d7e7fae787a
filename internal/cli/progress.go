package cli

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdn-tunnel/sdn-tunnel/internal/playbook"
)

// progress shows a playbook's events: a line for each play and cluster, and on a
// terminal what is going on right now below them.
type progress struct {
	mu       sync.Mutex
	w        io.Writer
	live     bool
	play     string
	hosts    map[string]*hostProgress
	shown    bool // a live line is on the screen
	failures int
}

// hostProgress is one host in one play.
type hostProgress struct {
	task           string
	tasks, changed int
	failed         bool
	since          time.Time
}

func newProgress(w io.Writer, live bool) *progress { return &progress{w: w, live: live} }

func (p *progress) event(e playbook.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	switch e.Kind {
	case playbook.EventPlay:
		p.endPlay()
		p.play, p.hosts = e.Play, map[string]*hostProgress{}
		fmt.Fprintf(p.w, "== %s\n", e.Play)
	case playbook.EventStart:
		p.host(e.Host).task = e.Task
	case playbook.EventResult:
		p.result(e)
	case playbook.EventNote:
		fmt.Fprintf(p.w, "   %-12s … %s\n", e.Host, strings.Join(strings.Fields(e.Message), " "))
	case playbook.EventStats:
		p.endPlay()
		p.stats(e.Hosts)
	}
	p.draw()
}

func (p *progress) host(name string) *hostProgress {
	if p.hosts == nil {
		p.hosts = map[string]*hostProgress{}
	}
	if p.hosts[name] == nil {
		p.hosts[name] = &hostProgress{since: time.Now()}
	}
	return p.hosts[name]
}

func (p *progress) result(e playbook.Event) {
	h := p.host(e.Host)
	stage := e.Task
	if e.Role != "" {
		stage = e.Role + ": " + e.Task
	}
	for _, w := range e.Warnings {
		fmt.Fprintf(p.w, "   %-12s warning: %s\n", e.Host, w)
	}
	switch e.Status {
	case "ok", "ignored":
		h.tasks++
	case "changed":
		h.tasks++
		h.changed++
		fmt.Fprintf(p.w, "   %-12s %s (changed)\n", e.Host, stage)
	case "failed", "unreachable":
		h.failed = true
		p.failures++
		fmt.Fprintf(p.w, "   %-12s %s: %s\n      %s\n", e.Host, stage, strings.ToUpper(e.Status),
			strings.ReplaceAll(strings.TrimSpace(cmp.Or(e.Message, "no message")), "\n", "\n      "))
	}
	h.task = ""
}

// endPlay sums up the hosts of the play that ended.
func (p *progress) endPlay() {
	for _, name := range slices.Sorted(maps.Keys(p.hosts)) {
		h := p.hosts[name]
		if h.tasks == 0 || h.failed {
			continue
		}
		fmt.Fprintf(p.w, "   %-12s ok: %d tasks, %d changed, %.1f s\n", name, h.tasks, h.changed, time.Since(h.since).Seconds())
	}
	p.hosts = nil
}

func (p *progress) stats(hosts map[string]playbook.Stats) {
	changed, failed := 0, 0
	for _, s := range hosts {
		changed += s.Changed
		failed += s.Failures + s.Unreachable
	}
	fmt.Fprintf(p.w, "== changed %d, failed %d\n", changed, failed)
}

// draw shows what runs now on one line; clear takes it away.
func (p *progress) draw() {
	if !p.live {
		return
	}
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(p.hosts)) {
		if task := p.hosts[name].task; task != "" {
			parts = append(parts, name+": "+task)
		}
	}
	if len(parts) == 0 {
		return
	}
	line := []rune("   … " + strings.Join(parts, " | "))
	fmt.Fprint(p.w, string(line[:min(len(line), 110)]))
	p.shown = true
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.shown = false
	}
}

func (p *progress) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}
