// Package table writes aligned columns for people, in colour where the reader is a terminal.
// It knows nothing of what stands in the cells, and lets nothing in them reach the terminal
// but what can be read.
package table

import (
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Colours of a terminal (ECMA-48).
const (
	Green  = "\x1b[32m"
	Yellow = "\x1b[33m"
	Red    = "\x1b[31m"
	dim    = "\x1b[2m"
	reset  = "\x1b[0m"
)

// Table is a header and rows. Columns are aligned by what is seen, not by colour codes.
type Table struct {
	// Colour: the reader is a terminal.
	Colour bool
	// Of is the colour of a cell by its text, or empty. It may be nil.
	Of   func(cell string) string
	rows [][]string
}

// Row adds a row; the first one is the header.
func (t *Table) Row(cells ...string) {
	row := make([]string, len(cells))
	for i, cell := range cells {
		row[i] = Plain(cell)
	}
	t.rows = append(t.rows, row)
}

// Plain is text without what would move a terminal's cursor, colour it, or worse: whoever
// wrote the text may be another cluster.
func Plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// Paint colours s where the reader is a terminal.
func (t *Table) Paint(colour, s string) string {
	if !t.Colour || s == "" || colour == "" {
		return s
	}
	return colour + s + reset
}

// Write writes all rows.
func (t *Table) Write(w io.Writer) error {
	widths := map[int]int{}
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, row := range t.rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)
			switch {
			case n == 0:
				cell = t.Paint(dim, cell)
			case t.Of != nil:
				cell = t.Paint(t.Of(cell), cell)
			}
			line.WriteString(cell + pad)
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(line.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
