package nearest

import (
	"strings"
	"testing"
)

func TestName(t *testing.T) {
	names := []string{"count", "network", "constraint", "to", "task", "artifact", "affinity", "EnforceIndex", "JobModifyIndex"}
	for _, tc := range []struct{ given, want string }{
		{"cuont", "count"}, {"Count", "count"}, {"constrant", "constraint"}, {"netwrok", "network"},
		{"artefact", "artifact"}, {"EnforceIdex", "EnforceIndex"}, {"enforce_index", "EnforceIndex"}, {"Completely", ""},
		{"ot", "to"}, {"wholly different", ""}, {"", ""}, {strings.Repeat("a", maxName+1), ""},
	} {
		if got := Name(tc.given, names); got != tc.want {
			t.Errorf("Name(%q): got %q, want %q", tc.given, got, tc.want)
		}
	}
}
