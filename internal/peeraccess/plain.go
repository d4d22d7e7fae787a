package peeraccess

import (
	"regexp"
	"strings"
	"unicode"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// How many characters of another member's text are shown, and of a whole message.
const (
	maxText    = 256
	maxMessage = 1024
)

// Plain is another member's text as it may stand in a condition or a log: one line
// without control and formatting characters, of at most 256 characters.
func Plain(s string) string { return plain(s, maxText) }

// PlainError is a whole message with parts that another member, or what stands in its
// place, has said: as Plain, of at most 1024 characters.
func PlainError(err error) string { return plain(err.Error(), maxMessage) }

func plain(s string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == limit {
			b.WriteRune('…')
			break
		}
		switch {
		case unicode.IsSpace(r):
			r = ' '
		case r == unicode.ReplacementChar || !unicode.IsPrint(r):
			continue
		}
		b.WriteRune(r)
		n++
	}
	return b.String()
}

// reasons are what a condition or a Status may give as its reason.
var reasons = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,63}$`)

// PlainReason is another member's reason if it is one word, else "Unknown".
func PlainReason(s string) string {
	if !reasons.MatchString(s) {
		return "Unknown"
	}
	return s
}

// PlainStatus is what another member's API server says of an error: kind of error and
// a plain message, nothing else.
func PlainStatus(s metav1.Status) metav1.Status {
	out := metav1.Status{Status: metav1.StatusFailure, Code: s.Code, Message: Plain(s.Message)}
	out.Kind, out.APIVersion = "Status", "v1"
	if s.Reason != "" {
		out.Reason = metav1.StatusReason(PlainReason(string(s.Reason)))
	}
	return out
}

// plainly says no more of an error than PlainError, and keeps its kind.
type plainly struct{ error }

func (p plainly) Error() string { return PlainError(p.error) }
func (p plainly) Unwrap() error { return p.error }
