package clusterset

import (
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	mcsv1alpha1 "sigs.k8s.io/mcs-api/pkg/apis/v1alpha1"
)

// ConflictCondition is the condition Conflict of a ServiceExport with these conflicts.
func ConflictCondition(conflicts []Conflict) metav1.Condition {
	c := metav1.Condition{
		Type:    string(mcsv1alpha1.ServiceExportConditionConflict),
		Status:  metav1.ConditionFalse,
		Reason:  string(mcsv1alpha1.ServiceExportReasonNoConflicts),
		Message: "all clusters that export the service agree",
	}
	if len(conflicts) == 0 {
		return c
	}
	var reasons, messages []string
	for _, one := range conflicts {
		if !slices.Contains(reasons, string(one.Reason)) {
			reasons = append(reasons, string(one.Reason))
		}
		messages = append(messages, one.Message)
	}
	c.Status, c.Reason, c.Message = metav1.ConditionTrue, strings.Join(reasons, ","), strings.Join(messages, ". ")
	return c
}
