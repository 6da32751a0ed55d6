"""From panel reports to alarms, states and events; commands to panels."""
