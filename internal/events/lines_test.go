package events

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	corev1 "k8s.io/api/core/v1"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func about(name string) corev1.ObjectReference {
	return corev1.ObjectReference{Kind: "TunnelNode", Name: name, UID: "1"}
}

// TestSpaced: the first comes at once, the rest in ever fewer Events, of which each has
// the last word; a line that was quiet for long begins anew.
func TestSpaced(t *testing.T) {
	l := lines{}
	var got []string
	at := func(d time.Duration, notes ...string) {
		now := start.Add(d)
		for _, note := range notes {
			l.say(Event{About: about("a"), Action: "Handshake", Note: note}, now)
		}
		due, next := l.due(now)
		for _, s := range due {
			got = append(got, fmt.Sprintf("%v: %s", d, s.note()))
		}
		if next <= 0 || next > idle {
			t.Errorf("at %v the next look is after %v", d, next)
		}
	}
	at(0, "down")
	at(2*time.Second, "up")
	at(4*time.Second, "down")
	at(9 * time.Second)
	at(10 * time.Second)
	at(25*time.Second, "up")
	at(30 * time.Second)
	at(50*time.Second, "down") // as it flaps, though slowly, it comes more seldom
	at(89*time.Second, "up")
	at(90 * time.Second)
	at(20*time.Minute, "down")
	at(21*time.Minute, "up")
	want := []string{"0s: down", "10s: down (the last of 2 since 12:00:02 UTC)", "30s: up",
		"1m29s: up (the last of 2 since 12:00:50 UTC)", "20m0s: down", "21m0s: up"}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("written:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if at(time.Hour); len(l) != 0 {
		t.Errorf("%d lines are kept", len(l))
	}
}

// TestApart: another object, another action and another relation are lines of their own.
func TestApart(t *testing.T) {
	l := lines{}
	west := &corev1.ObjectReference{Kind: "LinkedCluster", Name: "west"}
	for _, e := range []Event{
		{About: about("a"), Action: "Handshake"}, {About: about("b"), Action: "Handshake"},
		{About: about("a"), Action: "Repair"}, {About: about("a"), Action: "Handshake", Related: west},
	} {
		l.say(e, start)
	}
	if due, _ := l.due(start); len(due) != 4 {
		t.Errorf("%d events of 4", len(due))
	}
}

// TestFew: what a thousand peers that go one after another, within the three minutes in
// which their handshakes end, would say in as many events comes in a handful.
func TestFew(t *testing.T) {
	l, written := lines{}, 0
	for i := range 1000 {
		now := start.Add(time.Duration(i) * 180 * time.Millisecond)
		l.say(Event{About: about("a"), Action: "Handshake", Note: fmt.Sprint(i)}, now)
		due, _ := l.due(now)
		written += len(due)
	}
	t.Logf("%d events of 1000 peers", written)
	if written > 6 {
		t.Errorf("%d events", written)
	}
}

func TestCut(t *testing.T) {
	for _, tt := range []struct {
		text string
		most int
		want string
	}{
		{"as it is", 8, "as it is"},
		{"a\x1b[2J\nb", 20, "a [2J b"},
		{"too long by far", 9, "too lo…"},
		{"äöüäöü", 8, "äö…"},
		{" \xff ", 3, ""},
	} {
		if got := cut(tt.text, tt.most); got != tt.want || len(got) > tt.most {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
	s := said{Event: Event{Note: strings.Repeat("ä", 2000)}, times: 3, first: start}
	if n := s.note(); len(n) > maxNote || !utf8.ValidString(n) || !strings.HasSuffix(n, "(the last of 3 since 12:00:00 UTC)") {
		t.Errorf("%d bytes: %s", len(n), n)
	}
}
