package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// commands are the nouns, the short forms of the verbs used most, and the rest.
func commands(a *app) []*cobra.Command {
	nouns := []*cobra.Command{
		newAgentCommand(a),
		habits(noun("job", "Run and look at jobs", "  drover job run hello.nomad.hcl\n  drover job status hello",
			newJobInit(a), newJobRun(a), newJobPlan(a), newJobStatus(a), newJobStop(a), newJobValidate(a), newJobWhy(a)), "jobs"),
		habits(noun("alloc", "Look at and steer single copies", "  drover alloc status 8f3c\n  drover alloc logs -f 8f3c",
			newAllocStatus(a), newAllocLogs(a), newAllocStop(a), newAllocRestart(a)), "allocs", "allocation", "container", "pod"),
		habits(noun("node", "Look at machines", "  drover node status\n  drover node eligibility --disable 8f3c",
			newNodeStatus(a), newNodeEligibility(a), newNodeLost(a)), "nodes", "machine"),
		habits(noun("server", "Look at the servers", "  drover server members", newServerMembers(a)), "servers"),
		newOperator(a),
		newEvents(a),
		newContext(a),
		noun("config", "Check an agent's configuration", "  drover config validate /etc/drover.d", newConfigValidate(a)),
	}
	short := []*cobra.Command{
		shortForm("job", newJobInit(a)), shortForm("job", newJobRun(a)), shortForm("job", newJobPlan(a)), shortForm("job", newJobStop(a)),
		shortForm("job", newJobValidate(a)), shortForm("alloc", newAllocLogs(a)), habits(newStatus(a), "ps", "get", "ls", "list", "describe"),
	}
	for _, c := range nouns {
		c.GroupID = groupNouns
	}
	for _, c := range short {
		c.GroupID = groupShort
	}
	return append(append(nouns, short...), newVersionCommand(a), newCompletion(a), newDocs(a))
}

// habits are other words by which users of other tools look for a command.
func habits(cmd *cobra.Command, words ...string) *cobra.Command {
	cmd.SuggestFor = append(cmd.SuggestFor, words...)
	return cmd
}

// shortForm is a verb at the top level.
func shortForm(noun string, cmd *cobra.Command) *cobra.Command {
	cmd.Example = strings.ReplaceAll(cmd.Example, "drover "+noun+" "+cmd.Name(), "drover "+cmd.Name())
	cmd.Short += " (`" + noun + " " + cmd.Name() + "`)"
	return cmd
}
