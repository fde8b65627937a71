package herd

import (
	"slices"
	"strings"
	"testing"
)

func TestChoose(t *testing.T) {
	all := []string{"cut", "kill", "wipe"}
	itself := func(s string) string { return s }
	if got, err := Choose("drill", all, itself, nil); err != nil || !slices.Equal(got, all) {
		t.Errorf("no names: %v, %v", got, err)
	}
	if got, err := Choose("drill", all, itself, []string{"wipe", "cut"}); err != nil || !slices.Equal(got, []string{"wipe", "cut"}) {
		t.Errorf("two names: %v, %v", got, err)
	}
	if _, err := Choose("drill", all, itself, []string{"kil"}); err == nil || !strings.Contains(err.Error(), `no drill "kil"; there are cut, kill, wipe`) {
		t.Errorf("an unknown name: %v", err)
	}
}
