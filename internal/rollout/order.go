package rollout

import (
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/apimachinery/pkg/util/version"
)

// Order is how a version stands to the one that is there.
type Order string

// Orders. Of versions that are not semantic ones, as of development builds, none is known.
const (
	Same    Order = "same"
	Newer   Order = "newer"
	Older   Order = "older"
	TooNew  Order = "too new" // more than one minor version ahead
	NotSaid Order = "unknown"
)

// Tag is the version that an image's name gives, empty if it gives none.
func Tag(image string) string {
	ref, err := name.ParseReference(image, name.WithDefaultTag(""))
	if err != nil {
		return ""
	}
	if tag, ok := ref.(name.Tag); ok {
		return tag.TagStr()
	}
	return ""
}

// Compare orders the images of two versions of one program.
func Compare(from, to string) Order {
	if from == to {
		return Same
	}
	a, errA := version.ParseSemantic(Tag(from))
	b, errB := version.ParseSemantic(Tag(to))
	switch {
	case errA != nil || errB != nil:
		return NotSaid
	case b.LessThan(a):
		return Older
	case b.Major() != a.Major() || b.Minor() > a.Minor()+1:
		return TooNew
	case a.LessThan(b):
		return Newer
	}
	return Same // the same version from elsewhere, or another build of it
}

// Step is the change of one program's image in one cluster.
type Step struct {
	Cluster, Program, From, To string
}

func (s Step) String() string {
	return fmt.Sprintf("cluster %s: %s: %s -> %s", s.Cluster, s.Program, s.From, s.To)
}

// Check refuses steps that agents and controllers of both versions side by side are not made
// for. What it says of steps whose order is not known is a warning.
func Check(steps []Step, allowDowngrade bool) (warnings []string, err error) {
	var bad []string
	for _, s := range steps {
		switch Compare(s.From, s.To) {
		case Older:
			if !allowDowngrade {
				bad = append(bad, fmt.Sprintf("%s: that is an older version; go back with \"sdn-tunnel upgrade --rollback\", or allow it with upgrade_allow_downgrade", s))
			}
		case TooNew:
			bad = append(bad, fmt.Sprintf("%s: versions that are more than one minor version apart do not run side by side; upgrade to the one between first", s))
		case NotSaid:
			warnings = append(warnings, fmt.Sprintf("%s: which of them is newer is not known from their tags", s))
		case Same, Newer:
		}
	}
	if len(bad) > 0 {
		err = fmt.Errorf("%s\nnothing was changed", strings.Join(bad, "\n"))
	}
	return warnings, err
}
