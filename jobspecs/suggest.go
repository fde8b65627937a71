package jobspecs

import (
	"fmt"

	"github.com/drover-io/drover/internal/nearest"
)

// didYouMean is the end of a message about an unknown name.
func didYouMean(given string, names []string) string {
	if n := nearest.Name(given, names); n != "" {
		return fmt.Sprintf("; did you mean %q?", n)
	}
	return ""
}

// hint ends a message about a name that a block does not have: the nearest one that it has, or where the name belongs.
func (s *schema) hint(given string) string {
	if near := didYouMean(given, s.names()); near != "" {
		return near
	}
	root := rootSchema()
	job := root.blocks["job"]
	group := job.blocks["group"]
	task := group.blocks["task"]
	for _, home := range []*schema{task, group, job, task.blocks["resources"], group.blocks["network"]} {
		switch n := nearest.Name(given, home.names()); {
		case n == given:
			return fmt.Sprintf("; it stands in %s", home.Name())
		case n != "":
			return fmt.Sprintf("; did you mean %q, which stands in %s?", n, home.Name())
		}
	}
	return ""
}
