package catalog

import (
	"context"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// lister is a member's API that lists as a test likes.
type lister struct {
	client.WithWatch
	list func(l *corev1.ServiceList, o *client.ListOptions) error
}

func (l lister) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	services, ok := list.(*corev1.ServiceList)
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{}, "")
	}
	return l.list(services, o)
}

// TestListOfHostileMember: a list comes to an end, whatever the member does.
func TestListOfHostileMember(t *testing.T) {
	for name, tt := range map[string]struct {
		list func(*corev1.ServiceList, *client.ListOptions) error
		want string // the error, or how many
	}{
		"pages": {func(l *corev1.ServiceList, o *client.ListOptions) error {
			if l.Items = append(l.Items, *service("a"+o.Continue, 1)); o.Continue == "" {
				l.Continue = "more"
			}
			return nil
		}, "2"},
		"a name too long": {func(l *corev1.ServiceList, _ *client.ListOptions) error {
			l.Items = append(l.Items, *service(strings.Repeat("x", 300), 1), *service("a", 2))
			return nil
		}, "1"},
		"pages without end": {func(l *corev1.ServiceList, _ *client.ListOptions) error {
			l.Continue = "more"
			return nil
		}, "too many pages"},
		"more than anybody has": {func(l *corev1.ServiceList, _ *client.ListOptions) error {
			l.Items, l.Continue = make([]corev1.Service, 1000), "more"
			return nil
		}, "more than 40000 objects"},
		"a long mark": {func(l *corev1.ServiceList, _ *client.ListOptions) error {
			l.Continue = strings.Repeat("x", 10<<10)
			return nil
		}, "8 KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBook(Options{Reader: lister{list: tt.list}})
			list, err := b.listAll(t.Context(), b.table(kindService).f)
			got := fmt.Sprint(err)
			if err == nil {
				got = fmt.Sprint(len(list.Items))
			}
			if !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
