"""The atlas: every method on every task, as pages that need no server (`python -m analysis.atlas`).

collected  the studies of an atlas, read and checked      joined     methods that comparisons ran
numbers    each method over all tasks                     sentences  the same in words
curves     a method's curve on every task                 missing    what is not there, and the command for it
profiles   how often each is near the best                pages      what stands on each page
site       draws all of it
"""
