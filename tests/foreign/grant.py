"""Gives the account `encargo` what docs/kafka.md says that it needs, and nothing else; or single rights; or takes them away again."""

import argparse

from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType,
)

GROUPS = ("encargo-fulfilment", "encargo-tracking", "encargo-asking", "encargo-reading")


def rights(topics, ids):
    """The rows of the table: on what, by which pattern, the operations."""
    for topic in (*topics, ids):
        yield ResourceType.TOPIC, topic, "LITERAL", ("DESCRIBE", "DESCRIBE_CONFIGS", "READ", "WRITE", "CREATE")
    yield ResourceType.TOPIC, ids, "LITERAL", ("DELETE",)
    for group in GROUPS:
        yield ResourceType.GROUP, group, "LITERAL", ("DESCRIBE", "READ")
    yield ResourceType.TRANSACTIONAL_ID, "encargo-fulfilment-", "PREFIXED", ("DESCRIBE", "WRITE")
    yield ResourceType.BROKER, "kafka-cluster", "LITERAL", ("DESCRIBE", "DESCRIBE_CONFIGS")


def single(right):
    """`GROUP:name:READ`, in a form like that of the rows."""
    kind, name, operation = right.split(":")
    return ResourceType[kind], name, "PREFIXED" if name.endswith("-") else "LITERAL", (operation,)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--brokers", required=True)
    parser.add_argument("--topics", nargs="+")
    parser.add_argument("--ids")
    parser.add_argument("--deny", nargs="+", type=single, metavar="KIND:NAME:OPERATION")
    parser.add_argument("--allow", nargs="+", type=single, metavar="KIND:NAME:OPERATION")
    parser.add_argument("--take-all", action="store_true", help="take away whatever was given or denied")
    options = parser.parse_args()
    admin = AdminClient({"bootstrap.servers": options.brokers})
    if options.take_all:
        everything = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
        )
        for done in admin.delete_acls([everything]).values():
            done.result(timeout=300)
        return
    permission = AclPermissionType.DENY if options.deny else AclPermissionType.ALLOW
    bindings = [
        AclBinding(kind, name, ResourcePatternType[pattern], "User:encargo", "*", AclOperation[operation], permission)
        for kind, name, pattern, operations in options.deny or options.allow or rights(options.topics, options.ids)
        for operation in operations
    ]
    for done in admin.create_acls(bindings).values():
        done.result(timeout=300)


if __name__ == "__main__":
    main()
