package peeraccess

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
)

// maxContinue is the longest mark of a next page that is sent back.
const maxContinue = 8 << 10

// PlainLists are lists and watches of the plain kind. Watches that begin with a list
// are not asked for: what they gather before it is complete has no bound.
type PlainLists struct{ *cache.ListWatch }

// IsWatchListSemanticsUnSupported is what client-go asks for.
func (PlainLists) IsWatchListSemanticsUnSupported() bool { return true }

// ListPages reads a list of another member page by page, size objects at a time, and
// gives the version of the last page. A server may ignore the size in what it answers
// from a cache, so the newest version is asked for; of one that gives less at a time, no
// more than so many pages are read. Each read gets a page, bounds what is in it, and
// keeps what is needed of it. what names the list in errors.
func ListPages(what string, size int64, pages int, read func(metav1.ListOptions) (metav1.ListInterface, error)) (version string, err error) {
	next := metav1.ListOptions{Limit: size}
	for range pages {
		page, err := read(next)
		if err != nil {
			return "", err
		}
		if next.Continue = page.GetContinue(); next.Continue == "" {
			return page.GetResourceVersion(), nil
		}
		if len(next.Continue) > maxContinue {
			return "", fmt.Errorf("%s: the next page has a mark of more than %d KiB", what, maxContinue>>10)
		}
	}
	return "", fmt.Errorf("%s has too many pages: more than %d pages of up to %d objects", what, pages, size)
}

// PlainWatch is another member's watch, of which admit says what passes. A Status has
// been made plain before admit sees it.
func PlainWatch(w watch.Interface, admit watch.FilterFunc) watch.Interface {
	return watch.Filter(w, func(e watch.Event) (watch.Event, bool) {
		if s, ok := e.Object.(*metav1.Status); ok {
			said := PlainStatus(*s)
			e = watch.Event{Type: watch.Error, Object: &said}
		}
		return admit(e)
	})
}
