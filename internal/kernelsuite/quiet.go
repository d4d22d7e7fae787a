package kernelsuite

import (
	"bytes"
	"io"
	"regexp"
)

// quiet passes lines on without those by which go test -v says that a test begins.
type quiet struct {
	to   io.Writer
	rest []byte // of a line that is not complete
}

var begins = regexp.MustCompile(`^=== (RUN|PAUSE|CONT|NAME) `)

func (q *quiet) Write(p []byte) (int, error) {
	q.rest = append(q.rest, p...)
	for {
		line, rest, ok := bytes.Cut(q.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		if !begins.Match(line) {
			if _, err := q.to.Write(append(line[:len(line):len(line)], '\n')); err != nil {
				return 0, err
			}
		}
		q.rest = rest
	}
}

// flush passes on what came without an end of line.
func (q *quiet) flush() {
	if len(q.rest) > 0 {
		_, _ = q.to.Write(append(q.rest, '\n'))
	}
	q.rest = nil
}
