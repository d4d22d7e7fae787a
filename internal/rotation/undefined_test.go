package rotation

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/sdn-tunnel/sdn-tunnel/api/v1alpha1"
)

// TestUndefined: a client's words for a kind that is not defined are told from those for an
// API that does not answer.
func TestUndefined(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "tunnelnodes"}, "")
	for want, errs := range map[bool][]error{
		true:  {gone, fmt.Errorf("list: %w", gone), &apiutil.ErrResourceDiscoveryFailed{v1alpha1.GroupVersion: gone}},
		false: {nil, errors.New("connection refused"), &apiutil.ErrResourceDiscoveryFailed{v1alpha1.GroupVersion: errors.New("timeout")}},
	} {
		for _, err := range errs {
			if undefined(err) != want {
				t.Errorf("%v: %v, want %v", err, !want, want)
			}
		}
	}
}
