"""What each page of the dashboard shows, as plain data: one file a page.

A page computes nothing of its own: figures come from the rooms of the verbs, and a page puts them side by side. Its
answer is JSON of schema "outweigh.page.NAME/1": units in the keys; interval, grade, method and source beside a figure;
null with a reason where something is missing. `shape` has the few shapes every page is made of, `asked` the filters
that came with the address.
"""
