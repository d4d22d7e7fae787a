package events

import (
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

const (
	// pauseMin is the least time between two Events of one object and action. It doubles with
	// each, up to pauseMax, until nothing was said for pauseMax.
	pauseMin, pauseMax = 10 * time.Second, 10 * time.Minute
	// idle is how long nobody need look at the lines while nothing is said.
	idle = time.Hour
	// What the API takes, in bytes.
	maxNote, maxInstance = 1024, 128
)

// key tells what replaces what.
type key struct{ uid, name, related, action string }

// said is an Event that is to be written, and how many it stands for.
type said struct {
	Event
	times       int
	first, last time.Time
}

// note is the text, and how often there was one since the last that was written.
func (s said) note() string {
	if s.times < 2 {
		return cut(s.Note, maxNote)
	}
	suffix := fmt.Sprintf(" (the last of %d since %s)", s.times, s.first.UTC().Format("15:04:05 MST"))
	return cut(s.Note, maxNote-len(suffix)) + suffix
}

// line is what there is to say of one object and action.
type line struct {
	held  said // times is 0: nothing
	pause time.Duration
	next  time.Time // not before
}

// over tells whether so long nothing was said that the next thing is news again.
func (l *line) over(now time.Time) bool {
	return l.held.times == 0 && now.Sub(l.next) >= pauseMax
}

// lines space out what is said.
type lines map[key]*line

func (l lines) say(e Event, now time.Time) {
	k := key{uid: string(e.About.UID), name: e.About.Namespace + "/" + e.About.Name, action: e.Action}
	if e.Related != nil {
		k.related = e.Related.Kind + "/" + e.Related.Namespace + "/" + e.Related.Name
	}
	have := l[k]
	if have == nil || have.over(now) {
		have = &line{}
		l[k] = have
	}
	if have.held.times == 0 {
		have.held.first = now
	}
	have.held.Event, have.held.last = e, now
	have.held.times++
}

// due takes what is to be written now, and tells how long there will be nothing more
// unless somebody says something.
func (l lines) due(now time.Time) (out []said, next time.Duration) {
	next = idle
	for k, have := range l {
		switch {
		case now.Before(have.next):
		case have.held.times > 0:
			out = append(out, have.held)
			have.pause = min(max(2*have.pause, pauseMin), pauseMax)
			have.held, have.next = said{}, now.Add(have.pause)
		case have.over(now):
			delete(l, k)
			continue
		default:
			next = min(next, pauseMax-now.Sub(have.next))
			continue
		}
		next = min(next, have.next.Sub(now))
	}
	return out, next
}

// cut makes a text plain and at most so many bytes long.
func cut(text string, most int) string {
	text = strings.TrimSpace(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == utf8.RuneError {
			return ' '
		}
		return r
	}, text))
	if len(text) <= most {
		return text
	}
	const more = "…"
	text = text[:most-len(more)]
	for !utf8.ValidString(text) {
		text = text[:len(text)-1]
	}
	return text + more
}
