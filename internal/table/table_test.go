package table

import (
	"strings"
	"testing"
)

func TestColumnsAlignByWhatIsSeen(t *testing.T) {
	for colour, want := range map[bool]string{
		false: "A   LONG\nü   bad\nxy  b\n",
		true:  dim + "A" + reset + "   " + dim + "LONG" + reset + "\nü   " + Red + "bad" + reset + "\nxy  b\n",
	} {
		table := Table{Colour: colour, Of: func(cell string) string {
			if cell == "bad" {
				return Red
			}
			return ""
		}}
		table.Row("A", "LONG")
		table.Row("ü", "bad")
		table.Row("xy", "b")
		var b strings.Builder
		if err := table.Write(&b); err != nil || b.String() != want {
			t.Errorf("colour %v: %v\n%q\nwant\n%q", colour, err, b.String(), want)
		}
	}
}

// TestNothingButText reaches the terminal, whatever another cluster's messages hold.
func TestNothingButText(t *testing.T) {
	var table Table
	table.Row("A\x1b]0;owned\a", "two\nlines", "ü\u202e")
	var b strings.Builder
	if err := table.Write(&b); err != nil || b.String() != "A ]0;owned   two lines  ü\n" {
		t.Errorf("%v: %q", err, b.String())
	}
}
