package peeraccess

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// TestListPages: a list comes to its end, or to that of its pages.
func TestListPages(t *testing.T) {
	for name, tt := range map[string]struct {
		marks []string // of the next page, page by page; the last one's are repeated
		want  string   // the version or the error
		read  int      // pages
	}{
		"one":           {[]string{""}, "v1", 1},
		"as many":       {[]string{"a", "b", ""}, "v3", 3},
		"without end":   {[]string{"a"}, "the list of west has too many pages: more than 3 pages of up to 7 objects", 3},
		"longest mark":  {[]string{strings.Repeat("x", maxContinue), ""}, "v2", 2},
		"too long mark": {[]string{strings.Repeat("x", maxContinue+1)}, "the list of west: the next page has a mark of more than 8 KiB", 1},
		"failed":        {[]string{"a", "fail"}, "failed", 2},
	} {
		t.Run(name, func(t *testing.T) {
			read, asked := 0, ""
			got, err := ListPages("the list of west", 7, 3, func(o metav1.ListOptions) (metav1.ListInterface, error) {
				if o.Limit != 7 || o.Continue != asked || o.ResourceVersion != "" {
					t.Errorf("page %d: asked for %+v, want what follows %.9q", read, o, asked)
				}
				asked = tt.marks[min(read, len(tt.marks)-1)]
				read++
				if asked == "fail" {
					return nil, errors.New("failed")
				}
				return &corev1.NodeList{ListMeta: metav1.ListMeta{Continue: asked, ResourceVersion: fmt.Sprint("v", read)}}, nil
			})
			if err != nil {
				got += err.Error()
			}
			if got != tt.want || read != tt.read {
				t.Errorf("%d pages: %s, want %d: %s", read, got, tt.read, tt.want)
			}
		})
	}
}

// TestPlainWatch: what a member says in a Status is plain before anybody looks at it.
func TestPlainWatch(t *testing.T) {
	source := watch.NewFakeWithChanSize(3, false)
	source.Add(&corev1.Node{})
	source.Modify(&corev1.Node{})
	source.Action(watch.Added, &metav1.Status{Code: 410, Reason: "no reason", Message: "gone\x1b[31m\n"})
	source.Stop()
	var got []string
	w := PlainWatch(source, func(e watch.Event) (watch.Event, bool) { return e, e.Type != watch.Added })
	for e := range w.ResultChan() {
		said := "a node"
		if s, ok := e.Object.(*metav1.Status); ok {
			said = fmt.Sprintf("%d %s %q", s.Code, s.Reason, s.Message)
		}
		got = append(got, fmt.Sprint(e.Type, " ", said))
	}
	if want := `MODIFIED a node; ERROR 410 Unknown "gone[31m "`; strings.Join(got, "; ") != want {
		t.Errorf("got %s, want %s", strings.Join(got, "; "), want)
	}
}
