"""What people and machines read: records, the table, failure messages, progress."""
